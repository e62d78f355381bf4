"""Text far longer than in training: is the next token still predicted? Section 6.1, Figure 10."""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from experiments.data.long_text import held_out_windows, next_windows, text_name, token_batch
from experiments.harness.by_group import difference, grouped, groups
from experiments.harness.claims import NOT_GIVEN, NOT_TESTABLE, Claim, Verdict, verdict
from experiments.harness.further import RATE, WAYS, train_further
from experiments.harness.intervals import Interval, deviation, in_short, is_above, is_below, of_seeds
from experiments.harness.plots import Figure, panels
from experiments.harness.run import Run
from experiments.harness.search import is_kept_in_its_setting, kept_trials, planned
from experiments.harness.table import Table, Trial
from experiments.harness.training import TO_ZERO, Test, falling_rate_with_decay
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
        f"The models have a third of a million parameters and read {text}, as tokens of byte-pair encoding with a "
        "vocabulary of 512, about two bytes each; training rows have 256 or 1,024 tokens, with equal tokens a step. "
        "The plot is the paper's, the loss by position, where each length has other targets. The claims are judged "
        "on the same targets after each number of tokens: the last 256 of each held-out window, of which each is "
        "predicted from three quarters of that number or more. Nats are means over a token. Differences within a "
        "model have 95 % intervals from a bootstrap over the windows, those between models from the spread of three "
        "seeds, pooled over all models. Adam (beta_2 0.99, gradients clipped to norm 1, weight decay 0.1) with a "
        "cosine of the rate to zero. After their tests Griffin and Hawk go on for 500 steps on text that continues "
        "from row to row, at a tenth of the rate, with the state that a row leaves as the first state of the next, "
        "and, from the same weights, without."
    )


DIFFERS = differs("the source of Python's standard library")
RATES = (
    "Learning rates: for each way to train each family keeps the rate with the least loss of validation in the runs of "
    "the first seed; every run is above."
)
is_kept = is_kept_in_its_setting
#: What the name of a setting says of the rotated share of the attention's channels.
ROTATED = {1.0: "", 0.0: ", NoPE"}
#: A difference in nats that does not count, one that is slight, and one that is a failure.
TOLERANCE, SLIGHT, FAILURE = 0.02, 0.05, 0.2
#: Nats above the least loss that the plot shows.
ROOM = 2.0
#: The contexts after further steps, in units of the length of training.
FURTHER = (1, 4, 32)


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
    #: T, tokens of a training row.
    length: int
    #: Rows of T tokens; of longer rows there are fewer.
    batch_size: int
    steps: int
    learning_rates: tuple[float, ...]
    #: Powers of two: the tokens after which the last `targets` of each window are predicted.
    contexts: tuple[int, ...]
    targets: int
    windows: int
    rungs: tuple[Rung, ...] = (
        Rung(),
        Rung(rotary_fraction=0.0, families=("MQA",)),
        Rung(stretch=4, families=("Griffin", "Hawk")),
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    #: Of Griffin and Hawk with rows of T.
    further_steps: int = 500
    validate_every: int = 250
    validation_rows: int = 256
    #: Tokens to read at once in the tests.
    test_tokens: int = 2**15


SIZES = {
    "smoke": Size(
        config=TINY.replace(vocabulary_size=257, window=4),
        length=8,
        batch_size=4,
        steps=4,
        learning_rates=(1e-2,),
        contexts=(8,),
        targets=2,
        windows=2,
        # One model, since compiling takes most of the time.
        rungs=(Rung(families=("Griffin",)),),
        seeds=(0,),
        further_steps=2,
        validate_every=2,
        validation_rows=8,
    ),
    "small": Size(
        config=GriffinConfig(
            vocabulary_size=512,
            width=64,
            num_layers=6,
            num_heads=2,
            recurrence_width=80,
            window=128,
            decay_initializer="paper",
        ),
        length=256,
        batch_size=8,
        steps=2000,
        learning_rates=(4e-3, 8e-3, 16e-3),
        contexts=(32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
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
        goes_on = rung.stretch == 1 and family != "MQA"
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
                "test_tokens": size.test_tokens,
                "further_steps": size.further_steps if goes_on else 0,
                "further_rate": RATE,
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
            schedule=TO_ZERO,
        )

    runs = []
    for rung in size.rungs:
        own = table.part(name(rung.stretch * size.length, rung.rotary_fraction))
        runs += planned(run, [rung], size.learning_rates, seeds, own, rung.families)
    return runs


def name(length: int, rotary_fraction: float = 1.0) -> str:
    """A setting in words."""
    return f"{length:,} tokens{ROTATED[rotary_fraction]}"


def after(context: int, further: str = "") -> str:
    """The setting of a test after so many tokens."""
    return f"after {context:,}{further and f', {further}'}"


def between(start: int, end: int) -> str:
    """The setting of a loss by position."""
    return f"tokens {start:,} to {end:,}"


make_batch = token_batch
optimizer = falling_rate_with_decay


def test(run: Run, model: LanguageModel, text: Path | None = None) -> Iterator[Test]:
    """The nats of the same targets after each number of tokens, window by window, and nats by position.

    Args:
        run: as for every experiment, like `model`.
        text: as for `runs_on`.
    """
    contexts = run.data["contexts"]
    windows = held_out_windows(run.data["windows"], contexts[-1] + 1, text, run.config.vocabulary_size)
    for context in contexts:
        losses, due = _losses(run, model, windows, context)
        yield from grouped(after(context), "nats", due)
    # The last context has the whole windows.
    for start, end in itertools.pairwise([0, *contexts]):
        yield between(start, end), "nats_by_position", losses[:, 1 + start : 1 + end].mean()
    if steps := run.data["further_steps"]:
        weights = model.get_weights()
        far = [times * run.data["length"] for times in FURTHER]
        for words, is_carried in WAYS.items():
            model.set_weights(weights)
            make = functools.partial(next_windows, run, run.batch_size, otherwise=text)
            train_further(run, model, steps, make, is_carried, optimizer)
            for context in (each for each in contexts if each in far):
                _, due = _losses(run, model, windows, context)
                yield after(context, f"{steps} {words}"), "nats", float(due.mean())


def _losses(run, model, windows, context):
    """The nats of all tokens that are read, as rows, and the mean over the targets of each window: `(W,)`."""
    targets = run.data["targets"]
    read, due = rows_after(windows, context, targets)
    losses = unlikelihood(model, read, max(1, run.data["test_tokens"] // context))
    return losses, losses[:, -due:].reshape(len(windows), targets).mean(axis=1)


def rows_after(windows: np.ndarray, context: int, targets: int) -> tuple[np.ndarray, int]:
    """Parts of windows, and how many tokens at their ends are targets: together the last of each window.

    A target has at most `context` tokens before it and, since it is among the last quarter, at least three quarters.

    Args:
        windows: `(W, T)`.
        context: tokens before the last target.
        targets: of each window; a power of two, like the context.

    Returns:
        `(W * targets / due, context + 1)`, and due.
    """
    due = min(targets, max(1, context // 4))
    ends = windows.shape[1] - targets + due * np.arange(1, targets // due + 1)
    places = ends[:, None] - np.arange(context + 1, 0, -1)
    return windows[:, places].reshape(-1, context + 1), due


def unlikelihood(model: LanguageModel, rows: np.ndarray, at_once: int) -> np.ndarray:
    """-log p of each token given those before it in its row, in chunks and so many rows at once: `(B, T)`, as rows."""
    return -np.concatenate([model.score(rows[start : start + at_once]) for start in range(0, len(rows), at_once)])


# Claims


def worse(table: Table, one: tuple[Trial, int], other: tuple[Trial, int]) -> Interval | None:
    """By how many nats a model's targets after so many tokens are worse than another's; None if not both are tested."""
    return difference(*(groups(table, trial, "nats", after(context)) for trial, context in (one, other)))


def length_of(table: Table) -> int:
    """T, the shorter length of training."""
    return int(table.settings()[0].split()[0].replace(",", ""))


def runs_of(table: Table, family: str, setting: str) -> list[Trial]:
    """A family's runs in a setting at the rate that it keeps there."""
    own = table.part(setting)
    return kept_trials(own, family, setting) if own.trials(family) else []


def they_extrapolate(table: Table) -> Verdict:
    """Griffin and Hawk lose at most the tolerance from T to 4 T; the losses at 32 T are told."""
    found = _from_t(table, ("Griffin", "Hawk"), 4, lambda found: is_below(found, TOLERANCE))
    far_found = _from_t(table, ("Griffin", "Hawk"), 32, lambda found: None)
    length, told = length_of(table), []
    for family, words in itertools.product(("Griffin", "Hawk"), WAYS):
        # Settings of these tests end in the words, with the number of steps before them.
        far = [
            (trial, setting.removeprefix(after(32 * length)))
            for trial in runs_of(table, family, name(length))
            for setting in table.tests(trial, "nats")
            if setting.startswith(f"{after(32 * length)}, ") and setting.endswith(words)
        ]
        losses = [
            table.value(trial, "nats", after(32 * length) + rest) - table.value(trial, "nats", after(length) + rest)
            for trial, rest in far
        ]
        told += [f"{family}, {words}, {', '.join(f'{loss:+.3f}' for loss in losses)}"] if losses else []
    further = f". The last after 500 further steps: {_listed(told)}" if told else ""
    return found._replace(evidence=f"{found.evidence}; {far_found.evidence}{further}")


def they_keep_improving(table: Table) -> Verdict:
    """Griffin and Hawk are better after 4 T than after T, if one gains from the second half of T."""
    found = _from_t(table, ("Griffin", "Hawk"), 4, lambda found: is_below(found, 0.0))
    length = length_of(table)
    return _if_far_tokens_help(table, found, length, length, length // 2)


def rope_fails(table: Table) -> Verdict:
    """The Transformer with RoPE is much worse after 4 T than after T."""
    return _from_t(table, ("MQA",), 4, lambda found: is_above(found, FAILURE))


def nope_fails(table: Table) -> Verdict:
    """The same without positions, which can't be tested unless its context at T helps by more than the tolerance."""
    length = length_of(table)
    found = _from_t(table, ("MQA",), 4, lambda loss: is_above(loss, FAILURE), rotary_fraction=0.0)
    gains = [worse(table, (trial, length), (trial, length // 8)) for trial in runs_of(table, "MQA", name(length, 0.0))]
    used = all(is_below(gain, -TOLERANCE) for gain in gains)
    told = ", ".join(str(gain or "not tested") for gain in gains) or "not tested"
    return found._replace(
        word=NOT_TESTABLE if any(gains) and not used else found.word,
        evidence=f"{found.evidence}; after {length:,} less those after {length // 8:,} {told}",
    )


def longer_rows_help_from_there_on(table: Table) -> Verdict:
    """Trained on 4 T, Griffin and Hawk are better after 4 T and 32 T, if one of these gains from more than T."""
    length = length_of(table)
    found = _of_longer_rows(table, (4 * length, 32 * length), lambda found: is_below(found, 0.0))
    return _if_far_tokens_help(table, found, 4 * length, 4 * length, length)


def longer_rows_cost_a_little_before(table: Table) -> Verdict:
    """After T / 8 and T / 4 they are certainly worse, and certainly by less than what is slight."""
    length = length_of(table)
    return _of_longer_rows(table, (length // 8, length // 4), is_slight)


def is_slight(found: Interval | None) -> bool | None:
    """Whether a difference is above 0, and no more than slight; None where the interval does not tell."""
    sides = is_above(found, 0.0), is_below(found, SLIGHT)
    return False if False in sides else None if None in sides else True


def _if_far_tokens_help(table, found, trained, many, few):
    """A verdict about far tokens: not testable where no family gains from more of them with every seed."""
    gains = {
        family: [worse(table, (trial, many), (trial, few)) for trial in runs_of(table, family, name(trained))]
        for family in ("Griffin", "Hawk")
    }
    told = _listed(f"{family} {gain or 'not tested'}" for family in gains for gain in gains[family])
    is_tested = any(gain for seeds in gains.values() for gain in seeds)
    helps = any(seeds and all(is_below(gain, 0.0) for gain in seeds) for seeds in gains.values())
    return found._replace(
        word=NOT_TESTABLE if is_tested and not helps else found.word,
        evidence=f"{found.evidence}. Trained on {trained:,}, after {many:,} less {few:,}: {told}",
    )


def _from_t(table, families, times, holds, rotary_fraction=1.0):
    """The verdict of differences between so many lengths of training and one."""
    length, outcomes, told, all_found = length_of(table), [], [], []
    for family in families:
        for trial in runs_of(table, family, name(length, rotary_fraction)):
            found = worse(table, (trial, times * length), (trial, length))
            outcomes.append(holds(found))
            told.append(f"{family}{ROTATED[rotary_fraction]} {found or 'not tested'}")
            all_found.append(found)
    words = f"nats after {times * length:,} less those after {length:,} tokens: {_listed(told)}"
    return verdict(outcomes, words, in_short(all_found, f"nats after {times} times the length"))


def _of_longer_rows(table, contexts, holds):
    """The verdict of differences between those trained on 4 T and on T, after some contexts, by their seeds."""
    length, outcomes, told, all_found = length_of(table), [], [], []
    for context in contexts:
        nats = {
            (family, times): [
                table.value(trial, "nats", after(context)) for trial in runs_of(table, family, name(times * length))
            ]
            for family in ("Griffin", "Hawk")
            for times in (1, 4)
        }
        spread = deviation(nats.values())
        for family in ("Griffin", "Hawk"):
            found = of_seeds(nats[family, 4], nats[family, 1], spread)
            outcomes.append(holds(found))
            told.append(f"{family} after {context:,} {found or 'not tested'}")
            all_found.append(found)
    words = f"nats of {4 * length:,} less those of {length:,} tokens: {_listed(told)}"
    return verdict(outcomes, words, in_short(all_found, "nats, the longer rows less the shorter"))


def _listed(told: Iterable[str]) -> str:
    return "; ".join(told) or "no run has finished"


CLAIMS = (
    Claim(
        "Hawk and Griffin extrapolate to significantly longer sequences",
        "after 4 times the tokens of a training row at most 0.02 nats worse than after one",
        they_extrapolate,
        FIGURE,
        NOT_GIVEN,
        why="Hawk is near the limit",
        before="not reproduced at 32 times, with one seed",
    ),
    Claim(
        "They keep improving beyond the length of training",
        "better after 4 times the tokens; not testable unless with every seed Griffin or Hawk certainly gains from the "
        "second half of a row",
        they_keep_improving,
        FIGURE,
        NOT_GIVEN,
        why="far tokens tell nothing here",
    ),
    Claim(
        "The Transformer with RoPE fails beyond it",
        "MQA more than 0.2 nats worse after 4 times the tokens",
        rope_fails,
        FIGURE,
        NOT_GIVEN,
    ),
    Claim(
        "So does the Transformer without positions (NoPE)",
        "the same; not testable unless with every seed it is certainly more than 0.02 nats better after a training "
        "row's tokens than after an eighth of them",
        nope_fails,
        FIGURE,
        NOT_GIVEN,
        why="NoPE hardly uses its context",
        before="undecided, as that was called",
    ),
    Claim(
        "Trained at 4 times the length, Hawk and Griffin are better from that length on",
        "better after 4 and after 32 times the tokens; not testable unless with every seed Griffin or Hawk certainly "
        "gains from more than the shorter rows",
        longer_rows_help_from_there_on,
        FIGURE,
        NOT_GIVEN,
        why="far tokens tell nothing here",
    ),
    Claim(
        "They are then slightly worse at short lengths",
        "certainly worse after an eighth and a quarter of the tokens, and by less than 0.05 nats",
        longer_rows_cost_a_little_before,
        FIGURE,
        NOT_GIVEN,
        why="two rows a step are few",
        before="reproduced unless better by 0.02 nats",
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    length = length_of(table)
    contexts = {
        f"{after(each)} tokens": table.value(trial, "nats", after(each))
        for each in (length // 8, length, 4 * length, 32 * length)
    }
    losses = {"validation": min(table.curve(trial, "loss")[1]), **contexts}
    return {f"nats, {what}": "" if math.isnan(value) else f"{value:.3f}" for what, value in losses.items()}


def finding(table: Table) -> str:
    """What the targets lose from the tokens of a training row to 4 times as many."""
    length = length_of(table)
    losses = {
        family: [
            table.value(trial, "nats", after(4 * length)) - table.value(trial, "nats", after(length))
            for trial in runs_of(table, family, name(length))
        ]
        for family in FAMILIES
    }
    return ranking("After 4 times the tokens of training {} is worse by {} nats", losses, "{:.2f}".format, True)


def draw(table: Table) -> Figure:
    """Nats by position, the paper's plot: every way to train on one axis, the mean of its seeds."""
    figure, (axes,) = panels(1)
    length = length_of(table)
    lines = {name(length): "-", name(length, 0.0): ":", name(4 * length): "-."}
    least = []
    for family, (setting, style) in itertools.product(FAMILIES, lines.items()):
        trials = runs_of(table, family, setting)
        places = [each for trial in trials[:1] for each in table.tests(trial, "nats_by_position")]
        values = [np.mean([table.value(trial, "nats_by_position", each) for trial in trials]) for each in places]
        ends = [int(each.split()[-1].replace(",", "")) for each in places]
        colour, marker = STYLES[family]
        axes.plot(ends, values, color=colour, marker=marker, linestyle=style, markersize=4, linewidth=1.2, alpha=0.8)
        least += values
    if least:
        # The Transformers leave the plot.
        axes.set_ylim(min(least) - 0.1, min(least) + ROOM)
    handles = [
        Line2D([], [], color="gray", linestyle=style, label=label)
        for label, style in ((f"{length:,}", "-"), (f"{length:,}, NoPE", ":"), (f"{4 * length:,}", "-."))
    ]
    axes.legend(handles=handles, title="tokens a row", fontsize="small", frameon=False, loc="upper left")
    for each in (length, 4 * length):
        axes.axvline(each, color="gray", linestyle=":", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set(xlabel="position of the target, up to", ylabel="nats a token")
    return figure
