"""Text far longer than in training: is the next byte still predicted? Section 6.1, Figure 10."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments.data.long_text import held_out_windows, text_name, window_batch
from experiments.harness import earlier
from experiments.harness.by_group import difference, grouped, groups
from experiments.harness.claims import NOT_GIVEN, NOT_TESTABLE, Claim, Verdict, verdict
from experiments.harness.earlier import kept_trials, planned
from experiments.harness.intervals import Interval, in_short, is_above, is_below
from experiments.harness.plots import Figure, panels
from experiments.harness.run import Run
from experiments.harness.table import Table, Trial
from experiments.harness.training import Test, cosine_rate
from experiments.harness.words import ranking
from experiments.models.families import FAMILIES, STYLES, TINY
from keras_griffin.models import GriffinConfig, LanguageModel

TITLE = "Long contexts"
FIGURE = "Figure 10"
PAPER = (
    "Trained on 2,048 tokens, Hawk and Griffin of a billion parameters predict long texts better and better up to some "
    "length and extrapolate at least to 4 times that of training, and the Transformers with RoPE and without "
    "positions (NoPE) fail. Trained on 8,192 tokens, Hawk and Griffin are better from there on and slightly worse at "
    "short lengths."
)


def differs(text: str) -> str:
    """What differs from the paper, of models that read a text."""
    return (
        f"The models have a third of a million parameters and read bytes of {text}; training rows have 256 or 1,024 "
        "bytes, with equal bytes a step. The paper plots the loss by position, where each length has other targets. "
        "The claims are judged on the same targets after each number of bytes: the last 256 of each held-out window, "
        "of which each is predicted from three quarters of that number or more. Nats are means over a byte, "
        "differences have 95 % intervals from a bootstrap over the windows, without the spread of seeds, of which "
        "there is one, and all models read the same windows, the Transformer too. Adam (beta_2 0.99, gradients clipped "
        "to norm 1, weight decay 0.1) with a cosine of the rate; the rate is searched at 256 bytes, for the "
        "Transformer with RoPE."
    )


DIFFERS = differs("the source of Python's standard library")
RATES, is_kept = earlier.RATES, earlier.is_kept
#: What the name of a setting says of the rotated share of the attention's channels.
ROTATED = {1.0: "", 0.5: ", RoPE on half", 0.0: ", NoPE"}
#: A difference in nats that does not count, and one that is a failure.
TOLERANCE = 0.02
FAILURE = 0.2


# Config


@dataclass(frozen=True)
class Rung:
    """A way to train: rows of so many lengths, attention with so many rotated channels, and the families to train."""

    stretch: int = 1
    rotary_fraction: float = 1.0
    families: tuple[str, ...] = tuple(FAMILIES)


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    config: GriffinConfig
    #: T, bytes of a training row.
    length: int
    #: Rows of T bytes; of longer rows there are fewer.
    batch_size: int
    steps: int
    learning_rates: tuple[float, ...]
    #: Powers of two: the bytes after which the last `targets` of each window are predicted.
    contexts: tuple[int, ...]
    targets: int
    windows: int
    rungs: tuple[Rung, ...] = (
        Rung(),
        Rung(rotary_fraction=0.5, families=("MQA",)),
        Rung(rotary_fraction=0.0, families=("MQA",)),
        Rung(stretch=4, families=("Griffin", "Hawk")),
    )
    seeds: tuple[int, ...] = (0,)
    validate_every: int = 250
    validation_rows: int = 256
    #: Bytes to read at once in the tests.
    test_bytes: int = 2**15


SIZES = {
    "smoke": Size(
        config=TINY.replace(vocabulary_size=256, window=4),
        length=8,
        batch_size=4,
        steps=4,
        learning_rates=(1e-2,),
        contexts=(8,),
        targets=2,
        windows=2,
        # One model, since compiling takes most of the time.
        rungs=(Rung(families=("Griffin",)),),
        validate_every=2,
        validation_rows=8,
    ),
    "small": Size(
        config=GriffinConfig(
            vocabulary_size=256,
            width=64,
            num_layers=6,
            num_heads=2,
            recurrence_width=80,
            window=128,
            decay_initializer="paper",
        ),
        length=256,
        batch_size=16,
        steps=1500,
        learning_rates=(2e-3, 4e-3),
        contexts=tuple(2**power for power in range(5, 14)),
        targets=256,
        windows=32,
    ),
    # The paper's model of 1.3 billion parameters and its lengths, for accelerators and a text of that size.
    "paper": Size(
        config=GriffinConfig(
            vocabulary_size=256,
            width=2048,
            num_layers=24,
            num_heads=16,
            recurrence_width=2560,
            window=1024,
            decay_initializer="paper",
        ),
        length=2048,
        batch_size=256,
        steps=50_000,
        learning_rates=(2e-4, 4e-4),
        contexts=tuple(2**power for power in range(8, 17)),
        targets=2048,
        windows=256,
        validate_every=1000,
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The search for a learning rate at the first length, then the other ways to train."""
    return runs_on("long_context", None, SIZES[scale], scale, seeds, table)


def runs_on(
    experiment: str, text: Path | None, size: Size, scale: str, seeds: Sequence[int], table: Table
) -> list[Run]:
    """The runs of an experiment on a text.

    Args:
        experiment: its name.
        text: None for the standard library.
        size: of the scale.
        scale: as for `plan`, like the others.
        seeds: of the runs.
        table: of the finished runs.
    """

    def run(family, rung, learning_rate, seed):
        length = rung.stretch * size.length
        return Run(
            experiment=experiment,
            scale=scale,
            family=family,
            config=size.config.replace(rotary_fraction=rung.rotary_fraction),
            data={
                "text": text_name(text),
                "length": length,
                "contexts": list(size.contexts),
                "targets": size.targets,
                "windows": size.windows,
                "test_bytes": size.test_bytes,
            },
            setting=name(length, rung.rotary_fraction),
            batch_size=size.batch_size // rung.stretch,
            steps=size.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every,
            validation_rows=size.validation_rows // rung.stretch,
            # A text is never solved.
            solved=2.0,
        )

    families = {name(rung.stretch * size.length, rung.rotary_fraction): rung.families for rung in size.rungs}
    runs = planned(run, size.rungs, size.learning_rates, seeds, table)
    return [run for run in runs if run.family in families[run.setting]]


def name(length: int, rotary_fraction: float = 1.0) -> str:
    """A setting in words."""
    return f"{length:,} bytes{ROTATED[rotary_fraction]}"


def after(context: int) -> str:
    """The setting of a test after so many bytes."""
    return f"after {context:,}"


def between(start: int, end: int) -> str:
    """The setting of a loss by position."""
    return f"bytes {start:,} to {end:,}"


make_batch = window_batch
optimizer = cosine_rate


def test(run: Run, model: LanguageModel, text: Path | None = None) -> Iterator[Test]:
    """The nats of the same targets after each number of bytes, window by window, and nats by position.

    Args:
        run: as for every experiment, like `model`.
        text: as for `runs_on`.
    """
    contexts, targets = run.data["contexts"], run.data["targets"]
    windows = held_out_windows(run.data["windows"], contexts[-1] + 1, text)
    for context in contexts:
        read, due = rows_after(windows, context, targets)
        losses = unlikelihood(model, read, max(1, run.data["test_bytes"] // context))
        yield from grouped(after(context), "nats", losses[:, -due:].reshape(len(windows), targets).mean(axis=1))
    # The last context has the whole windows.
    for start, end in itertools.pairwise([0, *contexts]):
        yield between(start, end), "nats_by_position", losses[:, 1 + start : 1 + end].mean()


def rows_after(windows: np.ndarray, context: int, targets: int) -> tuple[np.ndarray, int]:
    """Parts of windows, and how many bytes at their ends are targets: together the last of each window.

    A target has at most `context` bytes before it and, since it is among the last quarter, at least three quarters.

    Args:
        windows: `(W, T)`.
        context: bytes before the last target.
        targets: of each window; a power of two, like the context.

    Returns:
        `(W * targets / due, context + 1)`, and due.
    """
    due = min(targets, max(1, context // 4))
    ends = windows.shape[1] - targets + due * np.arange(1, targets // due + 1)
    places = ends[:, None] - np.arange(context + 1, 0, -1)
    return windows[:, places].reshape(-1, context + 1), due


def unlikelihood(model: LanguageModel, rows: np.ndarray, at_once: int) -> np.ndarray:
    """-log p of each byte given those before it in its row, in chunks and so many rows at once: `(B, T)`, as rows."""
    return -np.concatenate([model.score(rows[start : start + at_once]) for start in range(0, len(rows), at_once)])


# Claims


def worse(table: Table, one: tuple[Trial, int], other: tuple[Trial, int]) -> Interval | None:
    """By how many nats a model's targets after so many bytes are worse than another's; None if not both are tested."""
    return difference(*(groups(table, trial, "nats", after(context)) for trial, context in (one, other)))


def length_of(table: Table) -> int:
    """T, the shorter length of training."""
    return int(table.settings()[0].split()[0].replace(",", ""))


def they_extrapolate(table: Table) -> Verdict:
    """Griffin and Hawk lose at most the tolerance from T to 32 T."""
    return _from_t(table, ("Griffin", "Hawk"), (1.0,), 32, lambda found: is_below(found, TOLERANCE))


def they_keep_improving(table: Table) -> Verdict:
    """Griffin and Hawk are better after 4 T than after T, if one gains from the second half of T."""
    found = _from_t(table, ("Griffin", "Hawk"), (1.0,), 4, lambda found: is_below(found, 0.0))
    length = length_of(table)
    return _if_far_bytes_help(table, found, length, length, length // 2)


def rope_fails(table: Table) -> Verdict:
    """The Transformer with RoPE on all channels, or on half, is much worse after 4 T than after T."""
    return _from_t(table, ("MQA",), (1.0, 0.5), 4, lambda found: is_above(found, FAILURE))


def nope_fails(table: Table) -> Verdict:
    """The same without positions, which decides nothing unless its context at T helps by more than the tolerance."""
    length = length_of(table)
    gains = [
        worse(table, (trial, length), (trial, length // 8)) for trial in kept_trials(table, "MQA", name(length, 0.0))
    ]
    used = bool(gains) and all(is_below(gain, -TOLERANCE) for gain in gains)
    found = _from_t(table, ("MQA",), (0.0,), 4, lambda loss: is_above(loss, FAILURE) if used else None)
    told = ", ".join(str(gain or "not tested") for gain in gains) or "not tested"
    return found._replace(evidence=f"{found.evidence}; after {length:,} less those after {length // 8:,} {told}")


def longer_rows_help_from_there_on(table: Table) -> Verdict:
    """Trained on 4 T, Griffin and Hawk are better after 4 T and 32 T, if one of these gains from more than T."""
    length = length_of(table)
    found = _of_longer_rows(table, (4 * length, 32 * length), lambda found: is_below(found, 0.0))
    return _if_far_bytes_help(table, found, 4 * length, 4 * length, length)


def longer_rows_do_not_help_before(table: Table) -> Verdict:
    """They gain at most the tolerance after T / 8 and T / 4."""
    length = length_of(table)
    return _of_longer_rows(table, (length // 8, length // 4), lambda found: is_above(found, -TOLERANCE))


def _if_far_bytes_help(table, found, trained, many, few):
    """A verdict about far bytes: not testable where no model that trains so certainly gains from many more than few."""
    trials = [trial for family in ("Griffin", "Hawk") for trial in kept_trials(table, family, name(trained))]
    gains = {trial: worse(table, (trial, many), (trial, few)) for trial in trials}
    told = _listed(f"{trial.family} {gain or 'not tested'}" for trial, gain in gains.items())
    is_tested = any(gains.values())
    helps = any(is_below(gain, 0.0) for gain in gains.values())
    return found._replace(
        word=NOT_TESTABLE if is_tested and not helps else found.word,
        evidence=f"{found.evidence}. Trained on {trained:,}, after {many:,} less {few:,}: {told}",
    )


def _from_t(table, families, fractions, times, holds):
    """The verdict of differences between so many lengths of training and one."""
    length, outcomes, told, all_found = length_of(table), [], [], []
    for family, fraction in itertools.product(families, fractions):
        for trial in kept_trials(table, family, name(length, fraction)):
            found = worse(table, (trial, times * length), (trial, length))
            outcomes.append(holds(found))
            told.append(f"{family}{ROTATED[fraction]} {found or 'not tested'}")
            all_found.append(found)
    words = f"nats after {times * length:,} less those after {length:,} bytes: {_listed(told)}"
    return verdict(outcomes, words, in_short(all_found, f"nats after {times} times the length"))


def _of_longer_rows(table, contexts, holds):
    """The verdict of differences between those trained on 4 T and on T, after some contexts."""
    length, outcomes, told, all_found = length_of(table), [], [], []
    for family in ("Griffin", "Hawk"):
        settings = (kept_trials(table, family, name(times * length)) for times in (4, 1))
        for (long, short), context in itertools.product(zip(*settings, strict=False), contexts):
            found = worse(table, (long, context), (short, context))
            outcomes.append(holds(found))
            told.append(f"{family} after {context:,} {found or 'not tested'}")
            all_found.append(found)
    words = f"nats of {4 * length:,} less those of {length:,} bytes: {_listed(told)}"
    return verdict(outcomes, words, in_short(all_found, "nats, the longer rows less the shorter"))


def _listed(told: Iterable[str]) -> str:
    return "; ".join(told) or "no run has finished"


CLAIMS = (
    Claim(
        "Hawk and Griffin extrapolate to significantly longer sequences",
        "after 32 times the bytes of a training row at most 0.02 nats worse than after one",
        they_extrapolate,
        FIGURE,
        NOT_GIVEN,
        why="judged at 32 times, not 4",
    ),
    Claim(
        "They keep improving beyond the length of training",
        "better after 4 times the bytes; not testable unless a model certainly gains from the second half of a row",
        they_keep_improving,
        FIGURE,
        NOT_GIVEN,
        why="far bytes tell nothing here",
    ),
    Claim(
        "The Transformer with RoPE fails beyond it",
        "MQA more than 0.2 nats worse after 4 times the bytes",
        rope_fails,
        FIGURE,
        NOT_GIVEN,
    ),
    Claim(
        "So does the Transformer without positions (NoPE)",
        "the same; undecided unless, by its interval, it is more than 0.02 nats better after a training row's bytes "
        "than after an eighth of them",
        nope_fails,
        FIGURE,
        NOT_GIVEN,
        why="without positions hardly trained",
    ),
    Claim(
        "Trained at 4 times the length, Hawk and Griffin are better from that length on",
        "better after 4 and after 32 times the bytes; not testable unless a model that trains so certainly gains from "
        "more than the shorter rows",
        longer_rows_help_from_there_on,
        FIGURE,
        NOT_GIVEN,
        why="far bytes tell nothing here",
    ),
    Claim(
        "They are then slightly worse at short lengths",
        "at most 0.02 nats better after an eighth and a quarter of the bytes",
        longer_rows_do_not_help_before,
        FIGURE,
        NOT_GIVEN,
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    length = length_of(table)
    contexts = {
        f"{after(each)} bytes": table.value(trial, "nats", after(each))
        for each in (length // 8, length, 4 * length, 32 * length)
    }
    positions = {
        between(each, 2 * each): table.value(trial, "nats_by_position", between(each, 2 * each))
        for each in (2 * length, 16 * length)
    }
    losses = {"validation": min(table.curve(trial, "loss")[1]), **contexts, **positions}
    return {f"nats, {what}": "" if math.isnan(value) else f"{value:.3f}" for what, value in losses.items()}


def finding(table: Table) -> str:
    """What the targets lose from the bytes of a training row to 32 times as many."""
    length = length_of(table)
    losses = {
        family: [
            table.value(trial, "nats", after(32 * length)) - table.value(trial, "nats", after(length))
            for trial in kept_trials(table, family, name(length))
        ]
        for family in FAMILIES
    }
    return ranking("After 32 times the bytes of training {} is worse by {} nats", losses, "{:.2f}".format, True)


def draw(table: Table) -> Figure:
    """Nats of the same targets against the bytes before them: all that train at T, and the two lengths."""
    figure, (left, right) = panels(2)
    length = length_of(table)
    lines = {name(length): "-", name(length, 0.5): "--", name(length, 0.0): ":", name(4 * length): "-."}
    for family, (setting, style) in itertools.product(FAMILIES, lines.items()):
        for trial in kept_trials(table, family, setting):
            if setting != name(4 * length):
                _line(left, table, trial, style)
            if family != "MQA":
                _line(right, table, trial, style)
    left.set(title=f"Trained on {length:,} bytes", ylabel="nats a byte, same targets")
    right.set(title=f"Trained on {length:,} and {4 * length:,} bytes")
    _legend(left, {"RoPE": "-", "half RoPE": "--", "NoPE": ":"})
    _legend(right, {f"{length:,}": "-", f"{4 * length:,}": "-."}, "upper right")
    for axes, lengths in ((left, (length,)), (right, (length, 4 * length))):
        for each in lengths:
            axes.axvline(each, color="gray", linestyle=":", linewidth=1)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("bytes before the target")
    return figure


def _line(axes: Axes, table: Table, trial: Trial, style: str) -> None:
    settings = table.tests(trial, "nats")
    contexts = [int(setting.split()[-1].replace(",", "")) for setting in settings]
    values = [table.value(trial, "nats", setting) for setting in settings]
    colour, marker = STYLES[trial.family]
    axes.plot(contexts, values, color=colour, marker=marker, linestyle=style, markersize=4, linewidth=1.2, alpha=0.8)


def _legend(axes: Axes, styles: dict[str, str], place: str = "upper left") -> None:
    handles = [Line2D([], [], color="gray", linestyle=style, label=label) for label, style in styles.items()]
    axes.legend(handles=handles, fontsize="small", frameon=False, loc=place, handlelength=1.8)
