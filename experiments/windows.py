"""Windows of local attention, and global attention, at several lengths of training. Appendix E, Figure 9."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from matplotlib.axes import Axes

from experiments.data.long_text import text_name, window_batch
from experiments.harness.by_group import grouped, groups
from experiments.harness.claims import NOT_GIVEN, NOT_TESTABLE, Claim, Verdict, verdict
from experiments.harness.intervals import Interval, contrast, deviation, in_short, interval, is_above, of_seeds
from experiments.harness.plots import Figure, panels
from experiments.harness.run import Run
from experiments.harness.search import is_kept_in_its_setting, kept_trials, planned
from experiments.harness.table import Table, Trial
from experiments.harness.training import TO_ZERO, Test, falling_rate_with_decay
from experiments.harness.window_nats import gain_of_far_bytes, nats_of_windows
from experiments.models.families import RING, TINY, Style, first_decays
from keras_griffin.inspection.plots import FAMILY_COLOURS
from keras_griffin.models import Griffin, GriffinConfig, LanguageModel, presets

TITLE = "Windows"
FIGURE = "Figure 9"
PAPER = (
    "Models of 400 million parameters, trained on 2,048, 4,096 and 8,192 tokens a row, with as many tokens in all. "
    "Griffin with a window of 1,024 is better than the Transformer with global attention at every length, by less at "
    "greater ones. The Transformer with local attention is worst, whatever the window."
)
DIFFERS = (
    "All lengths and windows are an eighth of the paper's; Griffin has the window of the claims alone. The models have "
    "a third of a million parameters and read bytes of the source of Python's standard library, 1,000 steps of 2,048. "
    "Griffin is trained with both kinds of first decays: the paper's, which are judged, and those of the released code "
    "(ring). All predict the same bytes of held-out windows of 1,024: a window is cut into rows of the length of "
    "training, and a model sees what stands before a byte in its own row. Local attention to a whole row is global "
    "attention, and so not trained twice. Nats are means over a byte. Differences have 95 % intervals from the spread "
    "of three seeds, pooled over all models. RoPE rotates all channels. Adam (beta_2 0.99, gradients clipped to norm "
    "1, weight decay 0.1) with a cosine of the rate to zero."
)
RATES = (
    "Learning rates: at each length each family keeps the rate with the least loss of validation, Griffin and local "
    "MQA with the window of the claims, with the first seed; every run is above."
)
GRIFFIN, LOCAL, GLOBAL = "Griffin", "local MQA", "global MQA"
WITH_RING = f"{GRIFFIN}{RING}"
STYLES: dict[str, Style] = {
    GRIFFIN: (FAMILY_COLOURS["Griffin"], "s"),
    WITH_RING: (FAMILY_COLOURS["Griffin"], "D"),
    LOCAL: (FAMILY_COLOURS["local MQA"], "v"),
    GLOBAL: (FAMILY_COLOURS["MQA"], "o"),
}
#: In plots the two kinds of Griffin stand beside one another: factors of their window.
SHIFTS = {GRIFFIN: 0.93, WITH_RING: 1.07}
#: The measure of what a model gains from the far half of a row.
GAIN = "gain_of_far_bytes"
#: Griffin's is that of the scale.
PATTERNS = {LOCAL: ("local_mqa",), GLOBAL: ("global_mqa",)}


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    config: GriffinConfig
    #: Bytes of a row and windows of attention. The first of a length is that of its search, with the claims' window.
    rungs: tuple[tuple[int, int], ...]
    steps: int
    #: In the rows of a batch together.
    bytes_per_step: int
    learning_rates: tuple[float, ...]
    #: Held-out windows of so many targets, a multiple of every length.
    windows: int
    window_length: int
    families: tuple[str, ...] = tuple(STYLES)
    seeds: tuple[int, ...] = (0, 1, 2)
    validate_every: int = 250
    validation_bytes: int = 2**16


SIZES = {
    "smoke": Size(
        config=TINY.replace(vocabulary_size=256),
        rungs=((8, 4),),
        steps=4,
        bytes_per_step=32,
        learning_rates=(1e-2,),
        windows=2,
        window_length=16,
        # One model, since compiling takes most of the time.
        families=(GRIFFIN,),
        seeds=(0,),
        validate_every=2,
        validation_bytes=64,
    ),
    "small": Size(
        config=GriffinConfig(
            vocabulary_size=256,
            width=64,
            num_layers=6,
            num_heads=2,
            recurrence_width=80,
            rotary_fraction=1.0,
            decay_initializer="paper",
        ),
        rungs=((1024, 128), (1024, 512), (512, 128), (256, 128), (256, 64)),
        steps=1000,
        bytes_per_step=2048,
        learning_rates=(4e-3, 8e-3, 16e-3),
        windows=128,
        window_length=1024,
    ),
    # The paper's model, its lengths and 7.8 billion tokens, for accelerators and a text of that size.
    "paper": Size(
        config=presets()["griffin_400m"].replace(vocabulary_size=256, rotary_fraction=1.0),
        rungs=(
            *((2048, window) for window in (1024, 512)),
            *((4096, window) for window in (1024, 2048)),
            *((8192, window) for window in (1024, 2048, 4096)),
        ),
        steps=15_000,
        bytes_per_step=2**19,
        learning_rates=(1e-4, 2e-4, 4e-4),
        windows=256,
        window_length=8192,
        validate_every=1000,
        validation_bytes=2**21,
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """At each length the search for a learning rate, then every window."""
    size = SIZES[scale]
    judged = size.rungs[0][1]

    def run(family, rung, learning_rate, seed):
        # Global attention is one model at a length, whatever the window, and Griffin has one window.
        length, window = (rung[0], {LOCAL: rung[1], GLOBAL: rung[0]}.get(family, judged))
        pattern = PATTERNS.get(family, size.config.block_pattern)
        return Run(
            experiment="windows",
            scale=scale,
            family=family,
            config=size.config.replace(window=window, block_pattern=pattern, decay_initializer=first_decays(family)),
            data={
                "text": text_name(),
                "length": length,
                "windows": size.windows,
                "window_length": size.window_length,
            },
            setting=name(length, window),
            batch_size=size.bytes_per_step // length,
            steps=size.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every,
            validation_rows=size.validation_bytes // length,
            # A text is never solved.
            solved=2.0,
            schedule=TO_ZERO,
        )

    runs = []
    for length in dict.fromkeys(length for length, _ in size.rungs):
        rungs = [rung for rung in size.rungs if rung[0] == length]
        runs += planned(run, rungs, size.learning_rates, seeds, table, size.families)
    return runs


def name(length: int, window: int) -> str:
    """A setting in words."""
    return f"{length:,} bytes, window {window:,}"


def shape(setting: str) -> tuple[int, int]:
    """The length and the window that a setting names."""
    length, window = (int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\b", setting))
    return length, window


def make_model(run: Run) -> LanguageModel:
    """The model of a run's config, which has the pattern of its family."""
    return Griffin(run.config)


is_kept = is_kept_in_its_setting
make_batch = window_batch
optimizer = falling_rate_with_decay


def test(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The nats of the held-out windows, and of global attention what it gains from the far half of a row."""
    yield run.setting, "nats", float(nats_of_windows(run, model).mean())
    if run.family == GLOBAL:
        yield from grouped(run.setting, GAIN, gain_of_far_bytes(run, model))


# Claims


def lengths(table: Table) -> list[int]:
    """The lengths of training, from the least."""
    return sorted({shape(setting)[0] for setting in table.settings()})


def judged_window(table: Table) -> int:
    """The window of Griffin: that of the searches."""
    return shape(table.settings()[0])[1]


def runs_of(table: Table, family: str, setting: str) -> list[Trial]:
    """A family's runs in a setting at the rate that it keeps there."""
    return kept_trials(table.part(setting), family, setting)


def by_seed(table: Table, metric: str = "nats") -> dict[tuple[str, int, int], list[float]]:
    """A measure of every seed that has it, by family, length and window."""
    found = {
        (family, *shape(setting)): [table.value(trial, metric) for trial in runs_of(table, family, setting)]
        for family, setting in itertools.product(STYLES, table.settings())
    }
    tested = {model: [value for value in values if not math.isnan(value)] for model, values in found.items()}
    return {model: values for model, values in tested.items() if values}


def leads(table: Table, family: str = GRIFFIN) -> dict[int, Interval | None]:
    """The nats of global attention less those of Griffin, by length."""
    attention, griffin, spread = _compared(table, family)
    return {length: of_seeds(attention[length], griffin[length], spread) for length in lengths(table)}


def _compared(table, family):
    """The nats of global attention and of Griffin by length, seed by seed, and the spread between seeds."""
    nats, window = by_seed(table), judged_window(table)
    attention, griffin = (
        {length: nats.get(model(length), []) for length in lengths(table)}
        for model in (lambda length: (GLOBAL, length, length), lambda length: (family, length, window))
    )
    return attention, griffin, deviation(nats.values())


def losses_of_local(table: Table) -> dict[tuple[int, int], Interval | None]:
    """The nats of local attention less those of global attention, by length and window."""
    nats = by_seed(table)
    spread = deviation(nats.values())
    return {
        (length, window): of_seeds(values, nats.get((GLOBAL, length, length), ()), spread)
        for (family, length, window), values in sorted(nats.items())
        if family == LOCAL
    }


def griffin_is_better(table: Table) -> Verdict:
    """Griffin with the window of the claims is better than global attention at each length; the ring's is told."""
    found, ring = leads(table), leads(table, WITH_RING)
    evidence = f"nats of global MQA less those of Griffin: {_at(found)}; with the ring's decays: {_at(ring)}"
    return verdict(
        [is_above(each, 0.0) for each in found.values()],
        evidence,
        in_short(found.values(), "nats, global MQA less Griffin"),
    )


def its_lead_shrinks(table: Table) -> Verdict:
    """Griffin's lead is smaller at the greatest length than at each other; where it does not lead, nothing shrinks."""
    *others, longest = lengths(table)
    attention, griffin, spread = _compared(table, GRIFFIN)
    found = {
        length: contrast(
            [(1, attention[length]), (-1, griffin[length]), (-1, attention[longest]), (1, griffin[longest])], spread
        )
        for length in others
    }
    leading = leads(table)
    outcomes = [is_above(each, 0.0) if is_above(leading[length], 0.0) else None for length, each in found.items()]
    evidence = f"the lead less that at {longest:,} bytes: {_at(found)}; the leads: {_at(leading)}"
    return verdict(outcomes, evidence, in_short(found.values(), "nats, the lead less that of the longest rows"))


def local_attention_is_worst(table: Table) -> Verdict:
    """Local attention is worse than global attention, where that gains from the far half of a row with every seed."""
    found, gains = losses_of_local(table), gains_of_far_bytes(table)
    helped = [length for length, each in gains.items() if all(is_above(gain, 0.0) for gain in each)]
    outcomes = [is_above(each, 0.0) for (length, _), each in found.items() if length in helped]
    told = "; ".join(f"{name(*place)} {each or 'not compared'}" for place, each in found.items())
    gained = "; ".join(f"{length:,} bytes {', '.join(map(str, each))}" for length, each in gains.items())
    evidence = (
        f"nats of local MQA less those of global MQA: {told or 'no two runs have finished'}. The last quarter of a row "
        f"after half a row, less after all of it, in global MQA by seed: {gained or 'not tested'}"
    )
    judged = verdict(outcomes, evidence, in_short(found.values(), "nats, local less global MQA"))
    return judged._replace(word=NOT_TESTABLE) if gains and not helped else judged


def gains_of_far_bytes(table: Table) -> dict[int, list[Interval]]:
    """What global attention gains from the far half of a row, by length: each seed, by its windows."""
    found: dict[int, list[Interval]] = {}
    for length in lengths(table):
        tested = [groups(table, trial, GAIN) for trial in runs_of(table, GLOBAL, name(length, length))]
        found[length] = [interval(values) for values in tested if len(values)]
    return {length: each for length, each in found.items() if each}


def _at(found):
    """Intervals by length, in words."""
    return "; ".join(f"{length:,} bytes {each or 'not compared'}" for length, each in found.items())


CLAIMS = (
    Claim(
        "Griffin with a window of 1,024 is better than global attention at every length",
        "Griffin with a window of 128 has fewer nats than global MQA at 256, 512 and 1,024 bytes",
        griffin_is_better,
        FIGURE,
        "window 1,024, rows of 2,048, 4,096 and 8,192 tokens",
        why="equal in the shorter rows",
        before="not reproduced with the greatest of two rates, one seed at a time",
    ),
    Claim(
        "The difference is smaller at greater lengths",
        "smaller at 1,024 bytes than at 256 and at 512; undecided where Griffin is not better",
        its_lead_shrinks,
        FIGURE,
        NOT_GIVEN,
        why="Griffin leads only in long rows",
    ),
    Claim(
        "The Transformer with local attention is worst",
        "more nats than global MQA with each window, at each length at which global MQA certainly gains from the far "
        "half of a row, with every seed; not testable if it gains at none",
        local_attention_is_worst,
        FIGURE,
        NOT_GIVEN,
        why="far bytes tell nothing here",
        before="not reproduced without that condition",
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    losses = {
        "nats, validation": min(table.curve(trial, "loss")[1]),
        "nats, held-out windows": table.value(trial, "nats"),
        "gain of far bytes, nats": table.value(trial, GAIN),
    }
    return {what: "" if math.isnan(value) else f"{value:.3f}" for what, value in losses.items()}


def finding(table: Table) -> str:
    """By how much both Griffins are better than global attention in the shortest and the longest rows."""
    told = {
        words: [each for each in leads(table, family).values() if each]
        for family, words in ((GRIFFIN, "Griffin"), (WITH_RING, "ring"))
    }
    ends = ", ".join(f"{words} {each[0].mean:+.2f} to {each[-1].mean:+.2f}" for words, each in told.items() if each)
    rows = " to ".join(f"{each:,}" for each in lengths(table)[:: max(1, len(lengths(table)) - 1)])
    return f"Nats below global MQA in rows of {rows}: {ends}" if ends else ""


def draw(table: Table) -> Figure:
    """Nats less those of global attention against the window, a panel for each length: the seeds and their mean."""
    figure, axes = panels(max(1, len(lengths(table))), styles=STYLES)
    nats = by_seed(table)
    for each, length in zip(axes, lengths(table), strict=False):
        each.sharey(axes[0])
        each.axhline(0.0, color="gray", linewidth=1)
        each.set(title=f"rows of {length:,} bytes", xlabel="window, bytes")
        zero = mean(nats.get((GLOBAL, length, length), (math.nan,)))
        windows = set()
        for (family, at, window), values in nats.items():
            if at == length:
                windows.add(window)
                _seeds(each, family, window * SHIFTS.get(family, 1.0), [value - zero for value in values])
        each.set_xscale("log", base=2)
        each.set_xticks(sorted(windows), [f"{window:,}" for window in sorted(windows)])
        each.yaxis.set_major_formatter("{x:+.2f}")
    axes[0].set_ylabel("nats less those of global MQA")
    return figure


def _seeds(axes: Axes, family: str, x: float, values: Sequence[float]) -> None:
    """The mean of a model's seeds, over a line from the least to the greatest."""
    colour, marker = STYLES[family]
    axes.plot([x, x], [min(values), max(values)], color=colour, linewidth=2, alpha=0.5)
    face = "white" if family == WITH_RING else colour
    axes.plot([x], [mean(values)], color=colour, marker=marker, markerfacecolor=face, markersize=6)
