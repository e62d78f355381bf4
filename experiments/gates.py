"""What each part of the RG-LRU is for: Hawk with its gates, update or decays changed. Section 2.4, appendix A."""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments.data.last_mark import last_mark
from experiments.data.long_text import text_name, window_batch
from experiments.harness.claims import NOT_GIVEN, Claim, Verdict, verdict
from experiments.harness.intervals import Interval, deviation, in_short, is_above, is_below, of_seeds, ratio, times
from experiments.harness.plots import Figure, panels
from experiments.harness.run import Run
from experiments.harness.search import is_kept_in_its_setting, kept_trials, planned
from experiments.harness.table import Table, Trial
from experiments.harness.training import (
    TESTING,
    TO_ZERO,
    Test,
    batches,
    falling_rate,
    falling_rate_with_decay,
    nats_of_rows,
    score,
)
from experiments.harness.words import count, percent, ranking
from experiments.models.families import TINY, Style
from experiments.models.gated_unit import UNIT, register
from keras_griffin.inspection.plots import FAMILY_COLOURS
from keras_griffin.models import GriffinConfig, Hawk, LanguageModel
from keras_griffin.tasks import TaskBatch
from keras_griffin.training import AdamW

TITLE = "Gates, updates and decays"
FIGURE = "section 2.4 and appendix A"
PAPER = (
    "It has no ablation. It says that the recurrence gate reduces the influence of uninformative inputs, and "
    "that the unit can ignore an input but, unlike the updates of a GRU and of Mamba, can't forget everything. It sets "
    "c to 8 and draws a^c uniformly, where the released code draws a."
)
DIFFERS = (
    "Hawk with one thing changed in every block, on two tasks in rows of 256. In the last mark, a sixteenth of random "
    "tokens are marks, and every step asks which token followed the latest one: all other tokens are to be ignored, "
    "and each mark makes the one before obsolete. Text is bytes of the source of Python's standard library. Both have "
    "1,000 steps of 2,048 tokens. Without a gate, its kernel is 0 and its bias 20 and neither is trained, so that it "
    "is 1. The updates of a GRU and of Mamba have one gate and the plain input, as in equation 7; Mamba's a is learnt,"
    " from 1 on. All but the ring begin with equal forgetting: where the RG-LRU's gate is a half at first, so that it "
    "keeps a^(c/2), those without a recurrence gate and the other updates keep the root of what the paper draws, "
    "whatever c is. Adam (beta_2 0.99, gradients clipped to norm 1, on text weight decay 0.1) with a cosine of the "
    "rate to zero. Differences have 95 % intervals from the spread of three seeds, pooled over the variants of a task; "
    "ratios of areas from that of the variants that keep the RG-LRU's update."
)
RATES = (
    "Learning rates: on each task each variant keeps the rate with the least loss of validation in the runs of the "
    "first seed; every run is above."
)
#: The settings.
MARK, TEXT = "last mark", "text"
#: A gate is 1 in float32 from here on.
OPEN = 20.0
#: A difference in nats that does not count, and a share of right answers that does.
TOLERANCE, POINT = 0.01, 0.01
#: What a gate of 1 keeps at first is what a gate of a half keeps of the paper's range.
HALF_OPEN = (0.9**0.5, 0.999**0.5)
#: The tokens at which the recurrence gate is measured: marks and those behind them, and all others.
KINDS = ("marked", "other")
BINS = 10
GATE_LINES = {"marked": "-", "other": ":"}


# Variants


@dataclass(frozen=True)
class Variant:
    """A change to the recurrent blocks."""

    #: Of plots.
    group: str
    #: The gates that are always 1.
    open_gates: tuple[str, ...] = ()
    #: `mixer_options` of the blocks.
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = (MARK, TEXT)


def _update(name: str) -> dict[str, Any]:
    return {"unit": UNIT, "unit_options": {"update": name, "decay_range": HALF_OPEN}}


FULL, RING = "full", "ring"
OTHER_UPDATE = "other update"
VARIANTS = {
    FULL: Variant("RG-LRU"),
    "no input gate": Variant("a gate is 1", ("input_gate",)),
    "no recurrence gate": Variant("a gate is 1", ("recurrence_gate",), {"decay_range": HALF_OPEN}),
    "no gates": Variant("a gate is 1", ("input_gate", "recurrence_gate"), {"decay_range": HALF_OPEN}),
    "GRU": Variant(OTHER_UPDATE, options=_update("gru")),
    "Mamba": Variant(OTHER_UPDATE, options=_update("mamba")),
    # The paper's rule draws a^c, so each c begins with the same forgetting.
    **{f"c = {c}": Variant("other c", (), {"unit_options": {"exponent": c}}, (TEXT,)) for c in (4, 16)},
    RING: Variant("ring decays", options={"decay_initializer": "ring"}),
}
#: In plots.
STYLES: dict[str, Style] = {
    "RG-LRU": (FAMILY_COLOURS["RGLRU"], "o"),
    "a gate is 1": ("gray", "s"),
    OTHER_UPDATE: (FAMILY_COLOURS["GRU"], "^"),
    "other c": (FAMILY_COLOURS["CGLRU"], "D"),
    "ring decays": (FAMILY_COLOURS["RGLRU, ring"], "v"),
}


# Config


@dataclass(frozen=True)
class Task:
    """What to train on, and how long."""

    setting: str
    config: GriffinConfig
    #: Of a row.
    length: int
    steps: int
    batch_size: int
    validate_every: int
    validation_rows: int
    test_rows: int


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    tasks: tuple[Task, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    variants: tuple[str, ...] = tuple(VARIANTS)
    #: Rows at whose tokens the recurrence gate is measured.
    gate_rows: int = 4


def _hawk(vocabulary_size: int, num_layers: int, width: int = 64, num_heads: int = 2) -> GriffinConfig:
    return GriffinConfig(
        vocabulary_size=vocabulary_size,
        width=width,
        num_layers=num_layers,
        num_heads=num_heads,
        recurrence_width=5 * width // 4,
        decay_initializer="paper",
    )


SIZES = {
    "smoke": Size(
        tasks=(Task(MARK, TINY.replace(num_layers=1), 16, 4, 4, 2, 8, 8),),
        learning_rates=(1e-2,),
        seeds=(0,),
        # One model, since compiling takes most of the time.
        variants=("no input gate",),
        gate_rows=1,
    ),
    "small": Size(
        tasks=(
            Task(MARK, _hawk(16, 4), 256, 1000, 8, 50, 128, 512),
            Task(TEXT, _hawk(256, 6), 256, 1000, 8, 250, 256, 512),
        ),
        learning_rates=(4e-3, 8e-3, 16e-3),
    ),
    # The paper's model of 1.3 billion parameters and its rows, for accelerators.
    "paper": Size(
        tasks=(
            Task(MARK, _hawk(16, 4), 2048, 100_000, 32, 1000, 128, 512),
            Task(TEXT, _hawk(256, 24, 2048, 16), 2048, 50_000, 256, 1000, 256, 1024),
        ),
        learning_rates=(1e-4, 2e-4, 1e-3),
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """On each task the search for a learning rate, then each seed."""
    size = SIZES[scale]

    def run(name, task, learning_rate, seed):
        variant = VARIANTS[name]
        data = {
            "length": task.length,
            "open_gates": list(variant.open_gates),
            "options": dict(variant.options),
            "test_rows": task.test_rows,
        }
        own = {MARK: {"gate_rows": size.gate_rows}, TEXT: {"text": text_name()}}[task.setting]
        return Run(
            experiment="gates",
            scale=scale,
            family=name,
            config=task.config,
            data={**data, **own},
            setting=task.setting,
            batch_size=task.batch_size,
            steps=task.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=task.validate_every,
            validation_rows=task.validation_rows,
            # All steps are done, whatever has been learnt.
            solved=2.0,
            schedule=TO_ZERO,
        )

    runs = []
    for task in size.tasks:
        variants = [name for name in size.variants if task.setting in VARIANTS[name].settings]
        runs += planned(run, [task], size.learning_rates, seeds, table.part(task.setting), variants)
    return runs


is_kept = is_kept_in_its_setting


def make_model(run: Run) -> LanguageModel:
    """Hawk with the change of the run's variant."""
    options = run.data["options"]
    if options.get("unit") == UNIT:
        register()
    model = Hawk(
        run.config.replace(mixer_options={"recurrent": options} if options else {}, block_pattern=("recurrent",))
    )
    for block in model.blocks:
        for name in run.data["open_gates"]:
            gate = getattr(block.mixer.rg_lru, name)
            gate.blocks.kernel.assign(np.zeros(gate.blocks.kernel.shape))
            gate.blocks.bias.assign(np.full(gate.blocks.bias.shape, OPEN))
            gate.trainable = False
    return model


def optimizer(run: Run, model: LanguageModel) -> AdamW:
    """That of the synthetic tasks, or of texts."""
    return (falling_rate if run.setting == MARK else falling_rate_with_decay)(run, model)


def make_batch(run: Run, rows: int, seed: int) -> TaskBatch:
    """Rows of the task, or windows of the text."""
    if run.setting == TEXT:
        return window_batch(run, rows, seed)
    return last_mark(rows, run.data["length"], vocabulary_size=run.config.vocabulary_size, seed=seed)


def test(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The accuracy on new rows and the recurrence gate there, or the nats of held-out windows."""
    tested = batches(run, make_batch, run.data["test_rows"], TESTING)
    if run.setting == TEXT:
        yield run.setting, "nats", float(nats_of_rows(model, tested).mean())
    else:
        yield run.setting, "accuracy", score(model, tested).token_accuracy
        yield from gates_at_tokens(model, make_batch(run, run.data["gate_rows"], TESTING))


def gates_at_tokens(model: LanguageModel, batch: TaskBatch) -> Iterator[Test]:
    """The recurrence gate r at marks with their tokens, and at others: its mean over channels, and its histogram."""
    values = recurrence_gates(model, batch.token_ids)
    is_mark = batch.token_ids == model.config.vocabulary_size - 1
    marked = is_mark | np.pad(is_mark, ((0, 0), (1, 0)))[:, :-1]
    for kind, places in zip(KINDS, (marked, ~marked), strict=True):
        found = values[places]
        yield at(kind), "recurrence_gate", float(found.mean())
        shares = np.histogram(found, BINS, (0, 1))[0] / max(1, found.size)
        for place, share in enumerate(shares):
            yield at(kind), f"recurrence_gate_bin_{place}", float(share)


def at(kind: str) -> str:
    """The setting of a measure at tokens of a kind."""
    return f"at {kind} tokens"


def recurrence_gates(model: LanguageModel, token_ids: np.ndarray) -> np.ndarray:
    """The recurrence gates of all layers side by side: `(B, T, layers * R)` for token ids `(B, T)`."""
    traces = [model.trace(row).layers.values() for row in token_ids]
    return np.stack([np.concatenate([layer.values["recurrence_gate"] for layer in row], axis=1) for row in traces])


# Claims


def trials_of(table: Table, name: str, setting: str) -> list[Trial]:
    """A variant's runs on a task at the rate that it keeps there."""
    own = table.part(setting)
    return kept_trials(own, name, setting) if own.trials(name) else []


def by_variant(table: Table, setting: str, metric: str) -> dict[str, list[float]]:
    """A measure of every seed that has it, by variant."""
    found = {name: [table.value(trial, metric) for trial in trials_of(table, name, setting)] for name in VARIANTS}
    tested = {name: [value for value in values if not math.isnan(value)] for name, values in found.items()}
    return {name: values for name, values in tested.items() if values}


def full_less(table: Table, setting: str, metric: str) -> dict[str, Interval | None]:
    """By how much the full unit's measure is above each variant's."""
    found = by_variant(table, setting, metric)
    spread = deviation(found.values())
    return {name: of_seeds(found.get(FULL, ()), values, spread) for name, values in found.items() if name != FULL}


def slowness(table: Table) -> dict[str, Interval | None]:
    """The area above the learning curve of the last mark without a gate or on the ring, in those of the full unit's.

    Other updates are left out, since their seeds differ by more.
    """
    logs = {
        name: [math.log(table.area_above(trial, "token_accuracy")) for trial in trials]
        for name, variant in VARIANTS.items()
        if variant.group != OTHER_UPDATE and (trials := trials_of(table, name, MARK))
    }
    spread = deviation(logs.values())
    return {name: ratio(own, logs.get(FULL, ()), spread) for name, own in logs.items() if name != FULL}


def it_helps(table: Table, without: str) -> Verdict:
    """On the last mark the variant without a gate certainly learns more slowly, and answers less by a point."""
    slower, less = slowness(table), full_less(table, MARK, "accuracy")
    words = (
        f"area above the curve, of the full unit's: {_listed(slower, times)}; points of right answers, the full unit "
        f"less each variant: {_listed(less, in_points)}"
    )
    outcomes = [is_above(slower.get(without), 1.0), is_above(less.get(without), POINT)]
    own = slower.get(without)
    return verdict(outcomes, words, f"{own.mean:.2f} of the full unit's area above the curve" if own else "")


def the_full_unit_is_best_on_text(table: Table) -> Verdict:
    """On text at most the tolerance worse than each variant with its first decays."""
    found = {name: each for name, each in full_less(table, TEXT, "nats").items() if name != RING}
    words = f"nats of the full unit less those of a variant: {_listed(found)}"
    outcomes = [is_below(each, TOLERANCE) for each in found.values()]
    return verdict(outcomes, words, in_short(found.values(), "nats, full less a variant"))


def the_first_decays_are_as_good(table: Table) -> Verdict:
    """On text at most the tolerance worse than with the decays of the ring; the last mark is told."""
    found = full_less(table, TEXT, "nats").get(RING)
    other = full_less(table, MARK, "accuracy").get(RING)
    words = (
        f"nats of the full unit less those of the ring: {found or 'not tested'}; points of right answers on the last "
        f"mark: {in_points(other)}"
    )
    return verdict([is_below(found, TOLERANCE)], words, in_short([found], "nats, full less ring"))


def in_points(found: Interval | None) -> str:
    """A difference of shares in words, in per cent."""
    return str(Interval(*(100 * each for each in found))) if found else "not compared"


def _listed(found, words=lambda each: str(each or "not compared")):
    return "; ".join(f"{name} {words(each)}" for name, each in found.items()) or "no run has finished"


LAST_MARK_WITHOUT = (
    "without it a greater area above the learning curve of the last mark, and more than a point fewer right answers"
)
CLAIMS = (
    Claim(
        "The recurrence gate reduces the influence of uninformative inputs",
        LAST_MARK_WITHOUT,
        functools.partial(it_helps, without="no recurrence gate"),
        "section 2.4",
        NOT_GIVEN,
        "the input gate ignores too",
        before="not reproduced on rows of 27, in which nothing need be forgotten",
    ),
    Claim(
        "An input gate filters the input",
        LAST_MARK_WITHOUT,
        functools.partial(it_helps, without="no input gate"),
        "section 2.4",
        NOT_GIVEN,
        "the recurrence gate ignores too",
        before="partly, by steps to 95 % of two seeds",
    ),
    Claim(
        "The unit has both gates, its own update and c = 8 (the paper compares no others)",
        "on text at most 0.01 nats worse than each variant with its first decays",
        the_full_unit_is_best_on_text,
        "section 2.4",
        "c = 8; no other is compared",
        "bytes favour fast forgetting",
        before="not reproduced after 500 steps, where others forget faster at first",
    ),
    Claim(
        "a^c is drawn from 0.9 to 0.999 (no other first decays are compared)",
        "on text at most 0.01 nats worse than with the ring's decays",
        the_first_decays_are_as_good,
        "section 2.4",
        "a^c from 0.9 to 0.999; no other is compared",
        "bytes favour fast forgetting",
        before="not reproduced with one seed",
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    bits = table.value(trial, "nats") / math.log(2)
    gates = {kind: table.value(trial, "recurrence_gate", at(kind)) for kind in KINDS}
    return {
        "area above the curve, steps": ""
        if trial.setting == TEXT
        else count(table.area_above(trial, "token_accuracy")),
        "right answers, %": percent(table.value(trial, "accuracy")),
        "bits a byte": "" if math.isnan(bits) else f"{bits:.3f}",
        **{f"mean r {at(kind)}": "" if math.isnan(mean) else f"{mean:.2f}" for kind, mean in gates.items()},
    }


def gate_shares(table: Table) -> dict[str, np.ndarray]:
    """The shares of the full unit's r in each tenth from 0 to 1, `(10,)` by kind of token; the mean of the seeds."""
    found = {}
    for kind in KINDS:
        shares = [
            [table.value(trial, f"recurrence_gate_bin_{place}", at(kind)) for place in range(BINS)]
            for trial in trials_of(table, FULL, MARK)
        ]
        if shares and np.isfinite(shares).all():
            found[kind] = np.mean(shares, axis=0)
    return found


def finding(table: Table) -> str:
    """The variant that is best on text, beside the full unit."""
    bits = {name: mean(values) / math.log(2) for name, values in by_variant(table, TEXT, "nats").items()}
    told = {name: [bits[name]] for name in (*sorted(bits, key=lambda name: bits[name])[:1], FULL) if name in bits}
    words = f"On text {{}} is the best of {len(bits)} variants with {{}} bits a byte"
    return ranking(words, told, "{:.3f}".format, least_first=True)


def draw(table: Table) -> Figure:
    """Areas above the curve and bits a byte by variant, each seed, and histograms of the full unit's r."""
    figure, (mark, text, gate) = panels(3, styles=STYLES)
    areas = {
        name: [table.area_above(trial, "token_accuracy") for trial in trials_of(table, name, MARK)] for name in VARIANTS
    }
    bits = {name: [nats / math.log(2) for nats in seeds] for name, seeds in by_variant(table, TEXT, "nats").items()}
    for axes, found in ((mark, areas), (text, bits)):
        for place, (name, variant) in enumerate(VARIANTS.items()):
            _seeds(axes, STYLES[variant.group], found.get(name, ()), place)
        if found.get(FULL):
            axes.axvline(mean(found[FULL]), color="gray", linestyle=":", linewidth=1)
    mark.set(title="Last mark", xlabel="area above curve, steps")
    mark.set_xscale("log", base=2)
    mark.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    text.set(title="Text", xlabel="bits a byte")
    # So that the last number does not run into the next panel's first.
    text.margins(x=0.15)
    shares_at = gate_shares(table)
    for kind, shares in shares_at.items():
        gate.stairs(
            100 * shares, np.linspace(0, 1, BINS + 1), color="black", linestyle=GATE_LINES[kind], label=f"at {kind}"
        )
    gate.set(title="Gate of full unit", xlabel="r on the last mark", ylabel="share of gate values, %")
    if shares_at:
        # Room for the names above the bars.
        gate.set_ylim(0, 1.25 * gate.get_ylim()[1])
        gate.legend(fontsize="small", frameon=False, handlelength=1.5)
    for axes in (mark, text):
        axes.set_yticks(range(len(VARIANTS)), VARIANTS if axes is mark else [])
        axes.set_ylim(len(VARIANTS) - 0.5, -0.5)
    return figure


def _seeds(axes: Axes, style: Style, values: Sequence[float], place: int) -> None:
    """The seeds of a variant on one line."""
    colour, marker = style
    axes.plot(values, [place] * len(values), linestyle="-", linewidth=1, color=colour, marker=marker, markersize=5)
