"""What each part of the RG-LRU is for: Hawk with its gates, update or decays changed. Section 2.4, appendix A."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiments.data.long_text import text_name, window_batch
from experiments.harness.by_group import difference, grouped, groups
from experiments.harness.claims import NOT_GIVEN, Claim, Verdict, verdict
from experiments.harness.earlier import is_kept_in_its_setting, planned, trials_by_seed
from experiments.harness.intervals import Interval, in_short, is_below, is_within
from experiments.harness.plots import Figure, dot, panels
from experiments.harness.run import Run
from experiments.harness.search import LEVEL
from experiments.harness.table import Table, Trial
from experiments.harness.training import TESTING, Test, batches, constant_rate, cosine_rate, nats_of_rows, score
from experiments.harness.words import count, percent, ranking
from experiments.models.families import SYNTHETIC, TINY, Style
from experiments.models.gated_unit import UNIT, register
from keras_griffin.inspection.plots import FAMILY_COLOURS
from keras_griffin.models import GriffinConfig, Hawk, LanguageModel
from keras_griffin.tasks import TaskBatch, selective_copying
from keras_griffin.training import AdamW

TITLE = "Gates, updates and decays"
FIGURE = "section 2.4 and appendix A"
PAPER = (
    "It has no ablation. It says that the recurrence gate reduces the influence of uninformative inputs, and "
    "that the unit can ignore an input but, unlike the updates of a GRU and of Mamba, can't forget everything. It sets "
    "c to 8 and draws a^c uniformly, where the released code draws a."
)
DIFFERS = (
    "Hawk with one thing changed in every block, on selective copying and on bytes of the source of Python's standard "
    "library. Without a gate, its kernel is 0 and its bias 20 and neither is trained, so that it is 1. The updates of "
    "a GRU and of Mamba have one gate and the plain input, as in equation 7, and first decays uniform from 0.9 to "
    "0.999; Mamba's a is learnt, from 1 on. Two learning rates are searched on each task for each variant. To fit into "
    "75 minutes of two cores, 3 tokens are copied from 24, which is easier than in the experiment with all families, "
    "and text has rows of 128 bytes and 500 steps, both with two seeds. Two variants also read rows of 512 bytes for "
    "2,000 steps, with one seed. Copying: Adam (beta_2 0.99, gradients clipped to norm 1, no weight decay), 100 steps "
    "of warm-up, then a constant rate. Text: the same with weight decay 0.1 and a cosine of the rate. Differences in "
    "nats have 95 % intervals from a bootstrap over held-out windows, the same for all variants."
)
RATES = (
    "Learning rates: on each task each variant keeps the rate with the fewest steps to 95 % of the tokens, then the "
    "one with the least loss, in the runs of the first seed; every run is above."
)
#: The settings of runs on text; that of one on copying names its rung.
TEXT, LONGER = "text", "text, longer"
#: A gate is 1 in float32 from here on.
OPEN = 20.0
#: Accuracies over the validation's tokens: at which copying is solved, and below which it has failed.
SOLVED, FAILED = 0.99, 0.8
#: A difference in nats, and a ratio of steps, that do not count.
TOLERANCE, HARDLY = 0.01, 1.5
#: The tokens at which the recurrence gate is measured.
KINDS = ("data", "noise")
BINS = 10
GATE_LINES = {"data": "-", "noise": ":"}


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


def _decays(rule: str, exponent: float) -> dict[str, Any]:
    return {"decay_initializer": rule, "unit_options": {"exponent": exponent}}


def _update(name: str) -> dict[str, Any]:
    return {"unit": UNIT, "unit_options": {"update": name}}


FULL = "full"
#: With these exponents c.
EXPONENTS = (1, 4, 8, 16)
#: The variants with each exponent, by the rule of their first decays.
OF_EXPONENTS = {
    "paper": {c: FULL if c == 8 else f"c = {c}" for c in EXPONENTS},
    "ring": {c: f"ring, c = {c}" for c in EXPONENTS},
}
VARIANTS = {
    FULL: Variant("RG-LRU"),
    "no input gate": Variant("a gate is 1", ("input_gate",)),
    "no recurrence gate": Variant("a gate is 1", ("recurrence_gate",)),
    "no gates": Variant("a gate is 1", ("input_gate", "recurrence_gate")),
    "GRU": Variant("other update", options=_update("gru")),
    "Mamba": Variant("other update", options=_update("mamba")),
    **{name: Variant("other c", options=_decays("paper", c)) for c, name in OF_EXPONENTS["paper"].items() if c != 8},
    **{name: Variant("ring decays", options=_decays("ring", c)) for c, name in OF_EXPONENTS["ring"].items()},
}
#: In plots.
STYLES: dict[str, Style] = {
    "RG-LRU": (FAMILY_COLOURS["RGLRU"], "o"),
    "a gate is 1": ("gray", "s"),
    "other update": (FAMILY_COLOURS["GRU"], "^"),
    "other c": (FAMILY_COLOURS["CGLRU"], "D"),
    "ring decays": (FAMILY_COLOURS["RGLRU, ring"], "v"),
}


# Config


@dataclass(frozen=True)
class Task:
    """What to train on, and how long."""

    setting: str
    config: GriffinConfig
    #: Of a row, in copying without the markers.
    length: int
    steps: int
    batch_size: int
    validate_every: int
    validation_rows: int
    test_rows: int
    #: To copy; 0 on text.
    num_tokens: int = 0
    #: To train; if empty, those of the size.
    variants: tuple[str, ...] = ()
    #: At most so many are trained; None for all.
    most_seeds: int | None = None


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    tasks: tuple[Task, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...] = (0, 1)
    variants: tuple[str, ...] = tuple(VARIANTS)
    #: Rows at whose tokens the recurrence gate is measured.
    gate_rows: int = 32


#: Of models that read text.
OF_TEXT = GriffinConfig(
    vocabulary_size=256, width=64, num_layers=6, num_heads=2, recurrence_width=80, decay_initializer="paper"
)
SIZES = {
    "smoke": Size(
        tasks=(
            Task(
                "2 in 6",
                TINY.replace(num_layers=1),
                length=6,
                steps=4,
                batch_size=4,
                validate_every=2,
                validation_rows=8,
                test_rows=8,
                num_tokens=2,
            ),
        ),
        learning_rates=(1e-2,),
        seeds=(0,),
        # One model, since compiling takes most of the time.
        variants=("no input gate",),
        gate_rows=1,
    ),
    "small": Size(
        tasks=(
            Task(
                "3 in 24",
                SYNTHETIC,
                length=24,
                steps=1500,
                batch_size=32,
                validate_every=100,
                validation_rows=512,
                test_rows=1024,
                num_tokens=3,
            ),
            Task(
                TEXT,
                OF_TEXT,
                length=128,
                steps=500,
                batch_size=16,
                validate_every=250,
                validation_rows=256,
                test_rows=1024,
            ),
            Task(
                LONGER,
                OF_TEXT,
                length=512,
                steps=2000,
                batch_size=4,
                validate_every=500,
                validation_rows=64,
                test_rows=256,
                variants=(FULL, "ring, c = 8"),
                most_seeds=1,
            ),
        ),
        learning_rates=(2e-3, 4e-3),
    ),
    # The paper's rows and steps of copying, and its model of 1.3 billion parameters on text, for accelerators.
    "paper": Size(
        tasks=(
            Task(
                "16 in 1,008",
                SYNTHETIC,
                length=1008,
                steps=100_000,
                batch_size=32,
                validate_every=1000,
                validation_rows=512,
                test_rows=1024,
                num_tokens=16,
            ),
            Task(
                TEXT,
                GriffinConfig(
                    vocabulary_size=256,
                    width=2048,
                    num_layers=24,
                    num_heads=16,
                    recurrence_width=2560,
                    decay_initializer="paper",
                ),
                length=2048,
                steps=50_000,
                batch_size=256,
                validate_every=1000,
                validation_rows=256,
                test_rows=1024,
            ),
        ),
        learning_rates=(2e-4, 1e-3),
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
            "num_tokens": task.num_tokens,
            "open_gates": list(variant.open_gates),
            "options": dict(variant.options),
            "test_rows": task.test_rows,
        }
        return Run(
            experiment="gates",
            scale=scale,
            family=name,
            config=task.config,
            data={**data, "gate_rows": size.gate_rows} if task.num_tokens else {**data, "text": text_name()},
            setting=task.setting,
            batch_size=task.batch_size,
            steps=task.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=task.validate_every,
            validation_rows=task.validation_rows,
            # A text is never solved.
            solved=0.995 if task.num_tokens else 2.0,
        )

    runs = []
    for task in size.tasks:
        variants = [name for name in size.variants if name in (task.variants or size.variants)]
        runs += planned(run, [task], size.learning_rates, seeds[: task.most_seeds], table.part(task.setting), variants)
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
    return (constant_rate if run.data["num_tokens"] else cosine_rate)(run, model)


def make_batch(run: Run, rows: int, seed: int) -> TaskBatch:
    """Rows of copying, or windows of the text."""
    if run.data["num_tokens"]:
        return selective_copying(rows, run.data["length"], run.data["num_tokens"], seed=seed)
    return window_batch(run, rows, seed)


def test(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The accuracy on new rows and the recurrence gate there, or the nats of held-out windows."""
    tested = batches(run, make_batch, run.data["test_rows"], TESTING)
    if run.data["num_tokens"]:
        yield run.setting, "test_token_accuracy", score(model, tested).token_accuracy
        yield from gates_at_tokens(model, make_batch(run, run.data["gate_rows"], TESTING))
    else:
        yield from grouped(run.setting, "nats", nats_of_rows(model, tested))


def gates_at_tokens(model: LanguageModel, batch: TaskBatch) -> Iterator[Test]:
    """The recurrence gate r at data and at noise tokens of copying: its mean over all channels, and its histogram."""
    values = recurrence_gates(model, batch.token_ids)
    marker = model.config.vocabulary_size - 1
    noise = batch.token_ids == 0
    for kind, places in (("data", ~noise & (batch.token_ids != marker)), ("noise", noise)):
        found = values[places]
        yield at(kind), "recurrence_gate", float(found.mean())
        shares = np.histogram(found, BINS, (0, 1))[0] / found.size
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


def copying_runs(table: Table, *variants: str) -> list[dict[str, Trial]]:
    """The runs on copying at the rates that were kept, seed by seed, of the seeds that all these variants have."""
    setting = next((setting for setting in table.settings() if setting not in (TEXT, LONGER)), "")
    return runs_in(table, setting, *variants)


def text_runs(table: Table, *variants: str) -> list[dict[str, Trial]]:
    """The same on text."""
    return runs_in(table, TEXT, *variants)


def runs_in(table: Table, setting: str, *variants: str) -> list[dict[str, Trial]]:
    """The same in a setting."""
    return list(trials_by_seed(table.part(setting), setting, variants).values())


def nats_above(table: Table, one: Trial, other: Trial) -> Interval | None:
    """By how many nats of text one run is above another; None if not both were tested."""
    return difference(groups(table, one, "nats"), groups(table, other, "nats"))


def steps(table: Table, trial: Trial) -> float:
    """The steps to 95 % of the tokens; infinite if they were not enough."""
    return table.steps_to(trial, "token_accuracy", LEVEL)


def at_least(table: Table, trial: Trial) -> int:
    """The steps to 95 % of the tokens, or all steps of a run that has not got there."""
    found = steps(table, trial)
    return int(found) if math.isfinite(found) else table.curve(trial, "token_accuracy")[0][-1]


def without_recurrence_gate_it_fails(table: Table) -> Verdict:
    """Without a recurrence gate below 80 %; decided by the seeds with which the full unit reaches 99 %."""
    outcomes, told = [], []
    for runs in copying_runs(table, FULL, "no recurrence gate"):
        full, without = (max(table.curve(trial, "token_accuracy")[1]) for trial in runs.values())
        outcomes.append(without < FAILED if full >= SOLVED else None)
        told.append(f"{percent(without)} for {percent(full)}")
    words = f"best accuracy without it for that of the full unit in %, by seed: {_listed(told)}"
    return verdict(outcomes, words, f"{_listed(told)} %")


def without_input_gate_it_is_slower(table: Table) -> Verdict:
    """Without an input gate more steps; equal ones decide nothing."""
    outcomes, told = [], []
    for runs in copying_runs(table, FULL, "no input gate"):
        full, without = (steps(table, trial) for trial in runs.values())
        decides = math.isfinite(full) and full != without
        outcomes.append(without > full if decides else None)
        told.append(_steps_for(table, runs["no input gate"], runs[FULL]))
    words = f"steps to 95 % without it for those of the full unit, by seed: {_listed(told)}"
    return verdict(outcomes, words, f"{_listed(told)} steps")


def the_full_unit_is_best_on_text(table: Table) -> Verdict:
    """At most the tolerance worse than each variant."""
    outcomes, told, all_found = [], [], []
    for name in VARIANTS:
        found = [nats_above(table, runs[FULL], runs[name]) for runs in text_runs(table, FULL, name) if name != FULL]
        outcomes += [is_below(each, TOLERANCE) for each in found]
        all_found += found
        told += [f"{name} {', '.join(str(each or 'not tested') for each in found)}"] if found else []
    words = f"nats of the full unit less those of a variant, by seed: {_listed(told)}"
    return verdict(outcomes, words, in_short(all_found, "nats, full less a variant"))


def the_exponent_matters_for_ring_decays_alone(table: Table) -> Verdict:
    """Every c is like c = 8 under the paper's decays; under those of the ring at least one is not."""
    outcomes, told = [], []
    for like, words in every_exponent(table, "paper"):
        outcomes.append(like)
        told.append(words)
    for like, words in every_exponent(table, "ring"):
        outcomes.append(None if like is None else not like)
        told.append(words)
    return verdict(outcomes, f"nats, or steps to 95 %, of each c less or for those of c = 8: {_listed(told)}")


def the_first_decays_do_not_matter_later(table: Table) -> Verdict:
    """After the longer training at most the tolerance worse than with the decays of the ring."""
    ring = OF_EXPONENTS["ring"][8]
    found = [nats_above(table, runs[FULL], runs[ring]) for runs in runs_in(table, LONGER, FULL, ring)]
    told = [str(each or "not tested") for each in found]
    words = f"nats of the full unit less those of the ring: {_listed(told)}"
    return verdict((is_below(each, TOLERANCE) for each in found), words, in_short(found, "nats, full less ring"))


def every_exponent(table: Table, rule: str) -> Iterator[tuple[bool | None, str]]:
    """Whether each c is like c = 8, on text and then on copying, seed by seed, and in words.

    On text it is if it is within the tolerance, on copying if neither takes 1.5 times the steps of the other.
    """
    names = OF_EXPONENTS[rule]
    others = [name for c, name in names.items() if c != 8]
    for runs in text_runs(table, *names.values()):
        found = {name: nats_above(table, runs[name], runs[names[8]]) for name in others}
        likes = [is_within(each, TOLERANCE) for each in found.values()]
        told = ", ".join(f"{name} {each or 'not tested'}" for name, each in found.items())
        yield every(likes), f"{rule}, text: {told}"
    for runs in copying_runs(table, *names.values()):
        likes = [takes_similar_steps(table, runs[name], runs[names[8]]) for name in others]
        told = ", ".join(f"{name} {_steps_for(table, runs[name], runs[names[8]])}" for name in others)
        yield every(likes), f"{rule}, copying: {told}"


def takes_similar_steps(table: Table, one: Trial, other: Trial) -> bool | None:
    """Whether neither takes 1.5 times the steps of the other; None where the steps were too few to tell."""
    few, many = sorted((one, other), key=lambda trial: steps(table, trial))
    if steps(table, few) == math.inf:
        return None
    ratio = at_least(table, many) / steps(table, few)
    return False if ratio > HARDLY else True if steps(table, many) < math.inf else None


def every(outcomes: Iterable[bool | None]) -> bool | None:
    """Whether all hold; None where none fails and some are not decided."""
    outcomes = list(outcomes)
    return False if False in outcomes else None if None in outcomes else True


def _steps_for(table, one, other):
    """The steps of a run for those of another, in words."""
    return " for ".join(
        f"{'' if math.isfinite(steps(table, trial)) else 'more than '}{count(at_least(table, trial))}"
        for trial in (one, other)
    )


def _listed(told):
    return "; ".join(told) or "no run has finished"


CLAIMS = (
    Claim(
        "The recurrence gate reduces the influence of uninformative inputs",
        "without it less than 80 % of the tokens of selective copying, where the full unit reaches 99 %",
        without_recurrence_gate_it_fails,
        "section 2.4",
        NOT_GIVEN,
        why="rows of 27 hold nothing to forget",
    ),
    Claim(
        "An input gate filters the input",
        "without it more steps to 95 % of the tokens of selective copying",
        without_input_gate_it_is_slower,
        "section 2.4",
        NOT_GIVEN,
        why="two seeds disagree",
    ),
    Claim(
        "The unit has both gates, its own update and c = 8 (the paper compares no others)",
        "on text at most 0.01 nats worse than each variant",
        the_full_unit_is_best_on_text,
        "section 2.4",
        "c = 8; no other is compared",
        why="500 steps favour fast forgetting",
    ),
    Claim(
        "a^c is drawn (as a_t is (a^c)^r, c then nearly cancels; not so where a is drawn, on the ring)",
        "under the paper's decays c = 1, 4 and 16 are within 0.01 nats on text and 1.5 times the steps on copying of "
        "c = 8; under those of the ring at least one is not",
        the_exponent_matters_for_ring_decays_alone,
        why="copying has too few steps to tell",
    ),
    Claim(
        "a^c is drawn from 0.9 to 0.999 (no other first decays are compared)",
        "after 2,000 steps on text in rows of 512 bytes at most 0.01 nats worse than with the ring's decays",
        the_first_decays_do_not_matter_later,
        "section 2.4",
        "a^c from 0.9 to 0.999; no other is compared",
        why="2,000 steps are few",
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    bits = table.value(trial, "nats") / math.log(2)
    gates = {kind: table.value(trial, "recurrence_gate", at(kind)) for kind in KINDS}
    return {
        "steps to 95 %": "" if trial.setting in (TEXT, LONGER) else count(steps(table, trial)),
        "tokens, %": percent(table.value(trial, "test_token_accuracy")),
        "bits a byte": "" if math.isnan(bits) else f"{bits:.3f}",
        **{f"mean r {at(kind)}": "" if math.isnan(mean) else f"{mean:.2f}" for kind, mean in gates.items()},
    }


def gate_shares(table: Table) -> dict[str, np.ndarray]:
    """The shares of the full unit's r in each tenth from 0 to 1, `(10,)` by kind of token; the mean of the seeds."""
    found = {}
    for kind in KINDS:
        shares = [
            [table.value(runs[FULL], f"recurrence_gate_bin_{place}", at(kind)) for place in range(BINS)]
            for runs in copying_runs(table, FULL)
        ]
        if np.isfinite(shares).all() and shares:
            found[kind] = np.mean(shares, axis=0)
    return found


def finding(table: Table) -> str:
    """The variant that is best on text, beside the full unit."""
    nats = {name: [table.value(runs[name], "nats") for runs in text_runs(table, name)] for name in VARIANTS}
    bits = {name: np.mean(each) / math.log(2) for name, each in nats.items() if each and np.isfinite(each).all()}
    told = {name: [bits[name]] for name in (*sorted(bits, key=lambda name: bits[name])[:1], FULL) if name in bits}
    words = f"On text {{}} is the best of {len(bits)} variants with {{}} bits a byte"
    return ranking(words, told, "{:.2f}".format, least_first=True)


def draw(table: Table) -> Figure:
    """The steps to 95 % on copying and the bits a byte on text by variant, and histograms of the full unit's r."""
    figure, (speed, bits, gate) = panels(3, styles=STYLES)
    for place, (name, variant) in enumerate(VARIANTS.items()):
        style = STYLES[variant.group]
        for runs in copying_runs(table, name):
            trial = runs[name]
            dot(speed, style, at_least(table, trial), place, is_open=not math.isfinite(steps(table, trial)))
        for setting in (TEXT, LONGER):
            for runs in runs_in(table, setting, name):
                dot(bits, style, table.value(runs[name], "nats") / math.log(2), place, is_open=setting == LONGER)
    speed.set(title="Copying: steps to 95 %", xlabel="steps\n(open: not reached)")
    speed.set_xlim(0, 1.05 * speed.get_xlim()[1])
    bits.set(title="Text", xlabel="bits a byte\n(open: longer training)")
    # So that the last number does not run into the next panel's first.
    bits.margins(x=0.15)
    shares_at = gate_shares(table)
    for kind, shares in shares_at.items():
        gate.stairs(
            100 * shares, np.linspace(0, 1, BINS + 1), color="black", linestyle=GATE_LINES[kind], label=f"at {kind}"
        )
    gate.set(title="Gate of full unit", xlabel="r on copying", ylabel="share of gate values, %")
    if shares_at:
        # Room for the names above the bars.
        gate.set_ylim(0, 1.25 * gate.get_ylim()[1])
        gate.legend(fontsize="small", frameon=False, handlelength=1.5)
    speed.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    for axes in (speed, bits):
        axes.set_yticks(range(len(VARIANTS)), VARIANTS if axes is speed else [])
        axes.set_ylim(len(VARIANTS) - 0.5, -0.5)
    return figure
