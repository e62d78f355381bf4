"""Windows of local attention, and global attention, at several lengths of training. Appendix E, Figure 9."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from experiments.data.long_text import text_name, window_batch
from experiments.harness import earlier
from experiments.harness.by_group import difference, groups
from experiments.harness.claims import NOT_GIVEN, Claim, Verdict, verdict
from experiments.harness.earlier import kept_trials, planned
from experiments.harness.intervals import in_short, interval, is_above
from experiments.harness.plots import Figure, dot, panels
from experiments.harness.run import Run
from experiments.harness.table import Table, Trial
from experiments.harness.training import cosine_rate
from experiments.harness.window_nats import held_out_nats
from experiments.models.families import TINY, Style
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
    "All lengths and windows are an eighth of the paper's. The models have a third of a million parameters and read "
    "bytes of the source of Python's standard library, 750 steps of 2,048. All predict the same bytes of held-out "
    "windows of 1,024: a window is cut into rows of the length of training, and a model sees what stands before a byte "
    "in its own row. Local attention to a whole row is global attention, and so not trained twice. Nats are means over "
    "a byte, differences have 95 % intervals from a bootstrap over the held-out windows. RoPE rotates all channels. "
    "Adam (beta_2 0.99, gradients clipped to norm 1, weight decay 0.1) with a cosine of the rate. All have two seeds, "
    "except Griffin with windows other than that of the claims, which has one."
)
is_kept = earlier.is_kept
RATES = (
    "Learning rates: each family keeps the rate with the least loss at the first length, Griffin and local MQA with "
    "the window of the claims, with the first seed; every run is above."
)
GRIFFIN, LOCAL, GLOBAL = "Griffin", "local MQA", "global MQA"
STYLES: dict[str, Style] = {
    GRIFFIN: (FAMILY_COLOURS["Griffin"], "s"),
    LOCAL: (FAMILY_COLOURS["local MQA"], "v"),
    GLOBAL: (FAMILY_COLOURS["MQA"], "o"),
}
#: Griffin's is that of the scale.
PATTERNS = {LOCAL: ("local_mqa",), GLOBAL: ("global_mqa",)}


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    config: GriffinConfig
    #: Bytes of a row and windows of attention. The first is that of the search, and its window that of the claims.
    rungs: tuple[tuple[int, int], ...]
    steps: int
    #: In the rows of a batch together.
    bytes_per_step: int
    learning_rates: tuple[float, ...]
    #: Held-out windows of so many targets, a multiple of every length.
    windows: int
    window_length: int
    families: tuple[str, ...] = tuple(STYLES)
    seeds: tuple[int, ...] = (0, 1)
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
        # After the search the longest rows, whose runs take the longest, so that processes end together.
        rungs=(
            (256, 128),
            *((1024, window) for window in (128, 256, 512, 1024)),
            *((512, window) for window in (128, 256, 512)),
            *((256, window) for window in (64, 256)),
        ),
        steps=750,
        bytes_per_step=2048,
        learning_rates=(2e-3, 4e-3),
        windows=128,
        window_length=1024,
    ),
    # The paper's model, its lengths and 7.8 billion tokens, for accelerators and a text of that size.
    "paper": Size(
        config=presets()["griffin_400m"].replace(vocabulary_size=256, rotary_fraction=1.0),
        rungs=(
            *((2048, window) for window in (1024, 512, 2048)),
            *((4096, window) for window in (1024, 2048, 4096)),
            *((8192, window) for window in (1024, 2048, 4096, 8192)),
        ),
        steps=15_000,
        bytes_per_step=2**19,
        learning_rates=(2e-4, 4e-4),
        windows=256,
        window_length=8192,
        validate_every=1000,
        validation_bytes=2**21,
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The search for a learning rate at the first length, then every window at each length."""
    size = SIZES[scale]
    judged = size.rungs[0][1]

    def run(family, rung, learning_rate, seed):
        # Global attention is one model at a length, whatever the window.
        length, window = (rung[0], rung[0]) if family == GLOBAL else rung
        pattern = PATTERNS.get(family, size.config.block_pattern)
        return Run(
            experiment="windows",
            scale=scale,
            family=family,
            config=size.config.replace(window=window, block_pattern=pattern),
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
        )

    def is_wanted(run):
        if run.family == LOCAL and run.config.window == run.data["length"]:
            return False
        return run.seed == seeds[0] or run.family != GRIFFIN or run.config.window == judged

    return list(filter(is_wanted, planned(run, size.rungs, size.learning_rates, seeds, table, size.families)))


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


make_batch = window_batch
optimizer = cosine_rate
test = held_out_nats


# Claims


def lengths(table: Table) -> list[int]:
    """The lengths of training, from the least."""
    return sorted({shape(setting)[0] for setting in table.settings()})


def judged_window(table: Table) -> int:
    """The window of Griffin in the claims: that of the search."""
    return shape(table.settings()[0])[1]


def nats_by_seed(table: Table, family: str, length: int, window: int) -> dict[int, np.ndarray]:
    """The nats of each held-out window: `(W,)` by seed; only those that are there."""
    found = {trial.seed: groups(table, trial, "nats") for trial in kept_trials(table, family, name(length, window))}
    return {seed: values for seed, values in sorted(found.items()) if len(values)}


def leads(table: Table, length: int) -> dict[int, np.ndarray]:
    """The nats of global attention less those of Griffin at a length, `(W,)` by seed; only seeds that both have."""
    attention = nats_by_seed(table, GLOBAL, length, length)
    griffin = nats_by_seed(table, GRIFFIN, length, judged_window(table))
    return {seed: attention[seed] - griffin[seed] for seed in griffin if seed in attention}


def griffin_is_better(table: Table) -> Verdict:
    """Griffin with the window of the claims is better than global attention at each length."""
    outcomes, told, all_found = [], [], []
    for length in lengths(table):
        found = [interval(lead) for lead in leads(table, length).values()]
        outcomes += [is_above(each, 0.0) for each in found]
        all_found += found
        told += [f"{length:,} bytes {', '.join(map(str, found))}"] if found else []
    return verdict(outcomes, _of_leads(table, told), in_short(all_found, "nats, global MQA less Griffin"))


def its_lead_shrinks(table: Table) -> Verdict:
    """Griffin's lead is smaller at the greatest length than at each other; where it does not lead, nothing shrinks."""
    *others, longest = lengths(table)
    last, outcomes, told, all_found = leads(table, longest), [], [], []
    for length in others:
        for seed, lead in leads(table, length).items():
            if seed in last:
                found = interval(lead - last[seed])
                outcomes.append(is_above(found, 0.0) if is_above(interval(lead), 0.0) else None)
                all_found.append(found)
                told.append(f"at {length:,} bytes {found} more than at {longest:,}")
    ours = in_short(all_found, "nats, the lead less that of the longest rows")
    return verdict(outcomes, _of_leads(table, told), ours)


def local_attention_is_worst(table: Table) -> Verdict:
    """Local attention with each window is worse than global attention at the same length, with the same seed."""
    outcomes, told, all_found = [], [], []
    for length, window in sorted(map(shape, table.settings())):
        attention = nats_by_seed(table, GLOBAL, length, length)
        found = [
            difference(values, attention.get(seed, values[:0]))
            for seed, values in nats_by_seed(table, LOCAL, length, window).items()
        ]
        outcomes += [is_above(each, 0.0) for each in found]
        all_found += found
        words = ", ".join(str(each or "not compared") for each in found)
        told += [f"{length:,} bytes, window {window:,} {words}"] if found else []
    words = f"nats of local MQA less those of global MQA, by seed: {_listed(told)}"
    return verdict(outcomes, words, in_short(all_found, "nats, local less global MQA"))


def _of_leads(table, told):
    window = judged_window(table)
    return f"nats of global MQA less those of Griffin with a window of {window:,}, by seed: {_listed(told)}"


def _listed(told):
    return "; ".join(told) or "no two runs have finished"


CLAIMS = (
    Claim(
        "Griffin with a window of 1,024 is better than global attention at every length",
        "Griffin with a window of 128 has fewer nats than global MQA at 256, 512 and 1,024 bytes",
        griffin_is_better,
        FIGURE,
        "window 1,024, rows of 2,048, 4,096 and 8,192 tokens",
        why="small text, short training",
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
        "more nats than global MQA with each window at each length",
        local_attention_is_worst,
        FIGURE,
        NOT_GIVEN,
        why="far bytes tell nothing here",
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    losses = {"validation": min(table.curve(trial, "loss")[1]), "held-out windows": table.value(trial, "nats")}
    return {f"nats, {what}": "" if math.isnan(value) else f"{value:.3f}" for what, value in losses.items()}


def means(table: Table, length: int) -> dict[tuple[str, int], float]:
    """The mean nats of the seeds at a length, by family and window."""
    shapes = sorted(map(shape, table.settings()))
    keys = [(family, window) for family in STYLES for at, window in shapes if at == length]
    found = {key: [values.mean() for values in nats_by_seed(table, key[0], length, key[1]).values()] for key in keys}
    return {key: mean(values) for key, values in found.items() if values}


def finding(table: Table) -> str:
    """The windows with which attention alone is best."""
    best = []
    for length in lengths(table):
        attention = {window: nats for (family, window), nats in means(table, length).items() if family != GRIFFIN}
        best += [f"{min(attention, key=lambda window: attention[window]):,} of {length:,}"] if attention else []
    return f"Attention alone is best with a window of {', '.join(best)} bytes" if best else ""


def draw(table: Table) -> Figure:
    """Nats against the window, a panel for each length; a line joins means, with a dot for each seed."""
    figure, axes = panels(max(1, len(lengths(table))), styles=STYLES)
    for each, length in zip(axes, lengths(table), strict=False):
        each.sharey(axes[0])
        each.set(title=f"rows of {length:,} bytes", xlabel="window, bytes")
        found = means(table, length)
        # With a window of the whole row, local attention is global.
        for joined in ((GRIFFIN,), (LOCAL, GLOBAL)):
            points = [(window, value) for (family, window), value in found.items() if family in joined]
            each.plot(*zip(*points, strict=True) if points else ([], []), color="gray", linewidth=0.8)
        for family, window in found:
            for values in nats_by_seed(table, family, length, window).values():
                dot(each, STYLES[family], window, values.mean())
        windows = sorted({window for _, window in found})
        each.set_xscale("log", base=2)
        each.set_xticks(windows, [f"{window:,}" for window in windows])
        each.yaxis.set_major_formatter("{x:.2f}")
    axes[0].set_ylabel("nats a byte, held out")
    return figure
