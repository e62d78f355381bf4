"""Loss against the operations of training, for models of several sizes. Section 3, Figure 1a."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.data.long_text import text_name, window_batch
from experiments.harness.claims import NOT_GIVEN, Claim, Verdict, verdict
from experiments.harness.intervals import Interval, contrast, deviation, in_short, is_above, is_below, of_seeds
from experiments.harness.plots import Figure, panels
from experiments.harness.power_laws import above_a_floor, line, r_squared, residuals
from experiments.harness.run import Run
from experiments.harness.search import kept_rates, searched
from experiments.harness.table import Table, Trial
from experiments.harness.training import TO_ZERO, Test, falling_rate_with_decay
from experiments.harness.window_nats import nats_of_windows
from experiments.harness.words import ranking
from experiments.models.families import FAMILIES, RING, STYLES, TINY, first_decays, training_flops
from keras_griffin.models import GriffinConfig, LanguageModel, presets

TITLE = "Scaling law"
FIGURE = "Figure 1a"
PAPER = (
    "From 100 million to 7 billion parameters, each size trained on about 20 tokens a parameter, the held-out loss of "
    "every family is a straight line against FLOPs in logarithms. Griffin is lowest at every budget, and Hawk "
    "slightly above the Transformer, by less at greater budgets."
)
DIFFERS = (
    "Three blocks of widths 48 to 160 read bytes of the source of Python's standard library in rows of 256, with a "
    "window of 128 and heads of 16 channels. A size is trained on 20 bytes for each parameter of its Griffin, and all "
    "families of the size on the same bytes, as in the paper's Table 2. The embedding does not count there. FLOPs are "
    "those of training, with the logits. Griffin and Hawk are also trained, with one seed, with the first decays of "
    "the released code (ring), which are told. The claims compare models of the same width, where the Transformer has "
    "up to a third more FLOPs than Hawk; the evidence has the distances at equal FLOPs too. Nats are means over a byte "
    "of the same held-out windows of 1,024 bytes, each cut into rows of 256. Differences have 95 % intervals from the "
    "spread of three seeds, pooled over all models; the greatest width has one seed. RoPE rotates all channels. Adam "
    "(beta_2 0.99, gradients clipped to norm 1, weight decay 0.1) with a cosine of the rate to zero."
)
RATES = (
    "Learning rates: at each of two widths every family keeps the rate with the least loss of validation with the "
    "first seed; between these widths its rate is interpolated in logarithms, and beyond them it is that of the nearer "
    "one; every run is above."
)
#: The explained share of the variance from which losses are a line, and the sizes that tell.
STRAIGHT = 0.99
LEAST_SIZES = 3
#: Validations of a run.
VALIDATIONS = 5
#: The families that are judged, and behind them those with the ring's decays.
MODELS = (*FAMILIES, f"Griffin{RING}", f"Hawk{RING}")


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    #: One for each size of the models, with the pattern of Griffin.
    configs: tuple[GriffinConfig, ...]
    #: Widths at which each family tries the learning rates.
    searched: tuple[int, ...]
    learning_rates: tuple[float, ...]
    bytes_per_parameter: int
    #: T, bytes of a row.
    length: int
    batch_size: int
    #: Held-out windows of so many targets, a multiple of T.
    windows: int
    window_length: int
    families: tuple[str, ...] = MODELS
    seeds: tuple[int, ...] = (0, 1, 2)
    #: Widths above which there is one seed.
    most_width: int = 10**9
    validation_rows: int = 256


SIZES = {
    "smoke": Size(
        configs=(TINY.replace(vocabulary_size=256, window=4),),
        searched=(16,),
        learning_rates=(1e-2,),
        # The least number of steps.
        bytes_per_parameter=0,
        length=8,
        batch_size=4,
        windows=2,
        window_length=16,
        # One model, since compiling takes most of the time.
        families=("Griffin",),
        seeds=(0,),
        validation_rows=8,
    ),
    "small": Size(
        configs=tuple(
            GriffinConfig(
                256,
                width,
                num_layers=3,
                num_heads=width // 16,
                window=128,
                rotary_fraction=1.0,
                decay_initializer="paper",
            )
            for width in (48, 64, 96, 128, 160)
        ),
        searched=(48, 96),
        learning_rates=(4e-3, 8e-3, 16e-3),
        most_width=128,
        bytes_per_parameter=20,
        length=256,
        batch_size=8,
        windows=128,
        window_length=1024,
    ),
    # The paper's sizes and its tokens for each parameter, for accelerators and a text of that size.
    "paper": Size(
        configs=tuple(
            presets()[f"griffin_{size}"].replace(vocabulary_size=256, rotary_fraction=1.0)
            for size in ("100m", "200m", "400m", "1.3b", "3b", "7b")
        ),
        searched=(768, 1536),
        learning_rates=(1e-4, 2e-4, 4e-4),
        bytes_per_parameter=20,
        length=2048,
        batch_size=256,
        windows=256,
        window_length=2048,
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The search for a learning rate at some widths, then all widths for the families whose search has finished."""
    size = SIZES[scale]
    configs = {config.width: config for config in size.configs}

    def run(family, width, learning_rate, seed):
        steps = steps_of(size, configs[width])
        return Run(
            experiment="scaling_law",
            scale=scale,
            family=family,
            config=configs[width].replace(decay_initializer=first_decays(family)),
            data={
                "text": text_name(),
                "length": size.length,
                "windows": size.windows,
                "window_length": size.window_length,
            },
            setting=name(width),
            batch_size=size.batch_size,
            steps=steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=steps // VALIDATIONS,
            validation_rows=size.validation_rows,
            # A text is never solved.
            solved=2.0,
            schedule=TO_ZERO,
        )

    runs, ladder = [], []
    for family in size.families:
        rates: dict[int, float | None] = {}
        for width in size.searched:

            def own(rate, family=family, width=width):
                return run(family, width, rate, seeds[0])

            tried, rates[width] = searched(own, size.learning_rates, table)
            runs += tried
        found = {width: rate for width, rate in rates.items() if rate is not None}
        if len(found) == len(rates):
            ladder += [
                run(family, width, rate_at(width, found), seed)
                for width, seed in itertools.product(configs, seeds)
                # For their time the greatest width and the ring's decays have one seed, and never meet.
                if (seed == seeds[0], width <= size.most_width, RING not in family).count(False) <= 1
            ]
    # The longest first, so that processes that share them end together.
    ladder.sort(key=lambda each: -each.steps)
    return list({each.identity: each for each in [*runs, *ladder]}.values())


def steps_of(size: Size, config: GriffinConfig) -> int:
    """The steps in which a size of the models, in all families, reads the bytes of its Griffin: whole validations."""
    budget = size.bytes_per_parameter * config.parameter_count(embedding=False)
    return VALIDATIONS * max(1, round(budget / (VALIDATIONS * size.batch_size * size.length)))


def rate_at(width: int, found: dict[int, float]) -> float:
    """A learning rate between those found at some widths, in logarithms; beyond them, that of the nearest."""
    widths = sorted(found)
    rates = [math.log(found[each]) for each in widths]
    # Digits that a table keeps.
    return float(f"{math.exp(np.interp(math.log(width), np.log(widths), rates)):.3g}")


def is_kept(table: Table, trial: Trial) -> bool:
    """Whether a run has the learning rate that its family keeps at its width."""
    own = Table(row for row in table.part(trial.setting).rows if row.family == trial.family)
    return kept_rates(own)[trial.family] == trial.learning_rate


def name(width: int) -> str:
    """A setting in words."""
    return f"width {width:,}"


def width_of(setting: str) -> int:
    """The width that a setting names."""
    return int(setting.split()[1].replace(",", ""))


make_batch = window_batch
optimizer = falling_rate_with_decay


def test(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The operations and the bytes of training, and the nats of held-out windows."""
    read = run.steps * run.batch_size * run.data["length"]
    yield run.setting, "bytes", read
    yield run.setting, "flops", read * training_flops(model.config, run.data["length"])
    yield run.setting, "nats", float(nats_of_windows(run, model).mean())


# Claims


class Course(NamedTuple):
    """What a family has at the S widths that have finished, from the narrowest."""

    widths: list[int]
    #: Operations of training, `(S,)`.
    flops: np.ndarray
    #: Of each seed, at each width.
    nats: list[list[float]]

    @property
    def losses(self) -> np.ndarray:
        """The mean nats at each width: `(S,)`."""
        return np.array([np.mean(seeds) for seeds in self.nats])


def courses(table: Table) -> dict[str, Course]:
    """What has been tested, at the rates that were kept, by family."""
    found: dict[str, dict[int, list[Trial]]] = {family: {} for family in MODELS}
    for trial in table.trials():
        if is_kept(table, trial) and not math.isnan(table.value(trial, "nats")):
            found[trial.family].setdefault(width_of(trial.setting), []).append(trial)
    return {family: _course(table, trials) for family, trials in found.items() if trials}


def _course(table, trials):
    widths = sorted(trials)
    flops = np.array([table.value(trials[width][0], "flops") for width in widths])
    return Course(widths, flops, [[table.value(trial, "nats") for trial in trials[width]] for width in widths])


def losses_are_lines(table: Table) -> Verdict:
    """The losses of each family are a line against the operations, in logarithms."""
    outcomes: list[bool | None] = []
    told, shares = [], []
    for family, course in courses(table).items():
        if len(course.widths) >= LEAST_SIZES:
            straight, bent = (fit(course.flops, course.losses) for fit in (line, above_a_floor))
            explained = r_squared(straight, course.flops, course.losses)
            told.append(f"{family} {explained:.4f}, {straight.exponent:.3f} and {bent.floor:.3f}")
            if family in FAMILIES:
                outcomes.append(bool(explained >= STRAIGHT))
                shares.append(f"{family} {explained:.3f}")
        elif family in FAMILIES:
            outcomes.append(None)
    words = f"R^2 of log L = k - alpha log C, alpha, and E of L = E + A C^-alpha: {_listed(told)}"
    return verdict(outcomes, words, f"R^2 {', '.join(shares)}" if shares else "")


def differences(table: Table, family: str, other: str = "MQA") -> dict[int, Interval | None]:
    """The nats of a family less those of another, by width."""
    found = courses(table)
    spread = deviation(seeds for course in found.values() for seeds in course.nats)
    own, base = (dict(zip(found[name].widths, found[name].nats, strict=True)) for name in (family, other))
    return {width: of_seeds(own[width], base[width], spread) for width in own if width in base}


def griffin_is_lowest(table: Table) -> Verdict:
    """Griffin is better than the Transformer and than Hawk at each width."""
    return _at_each_width(table, "Griffin", lambda found: is_below(found, 0.0), ("MQA", "Hawk"))


def hawk_is_above(table: Table) -> Verdict:
    """Hawk is worse than the Transformer at each width."""
    return _at_each_width(table, "Hawk", lambda found: is_above(found, 0.0))


def hawk_comes_nearer(table: Table) -> Verdict:
    """Hawk's distance from the Transformer falls; undecided unless it is certainly above on average.

    Also where Hawk is below, the evidence says whether the two approach each other.
    """
    found = courses(table)
    if not {"Hawk", "MQA"} <= set(found) or len(found["MQA"].widths) < 2 or found["Hawk"].widths != found["MQA"].widths:
        return verdict([None], _listed([]))
    spread = deviation(seeds for course in found.values() for seeds in course.nats)
    pairs = list(zip(found["Hawk"].nats, found["MQA"].nats, strict=True))
    away = np.log10(found["MQA"].flops) - np.log10(found["MQA"].flops).mean()

    def of_distances(factors):
        return contrast(
            [
                (sign * factor, seeds)
                for factor, pair in zip(factors, pairs, strict=True)
                for sign, seeds in zip((1, -1), pair, strict=True)
            ],
            spread,
        )

    average = of_distances(np.full(len(pairs), 1 / len(pairs)))
    change = of_distances(away / np.square(away).sum())
    words = (
        f"nats of Hawk less those of MQA: {average or 'not compared'} on average, and for 10 times the FLOPs {change}"
    )
    outcome = is_below(change, 0.0) if is_above(average, 0.0) else None
    return verdict([outcome], words, in_short([change], "nats for 10 times the FLOPs"))


def _at_each_width(table, family, holds, others=("MQA",)):
    """The verdict of differences from others at each width; told is the distance of the lines at equal FLOPs."""
    found = courses(table)
    if not {family, *others} <= set(found):
        return verdict([None], _listed([]))
    outcomes, told, ours = [], [], []
    for other in others:
        by_width = differences(table, family, other)
        outcomes += [holds(each) for each in by_width.values()]
        told += [f"less {other}, width {width} {each or 'not compared'}" for width, each in by_width.items()]
        ours.append(in_short(by_width.values(), f"nats, {family} less {other}"))
    if min(len(found[name].widths) for name in (family, "MQA")) >= 2:
        told.append(f"less MQA at equal FLOPs, between the lines, {_between_lines(found, family)}")
    ring = f"{family}{RING}"
    if ring in found:
        told.append(f"with the ring's decays less MQA {in_short(differences(table, ring).values(), 'nats')}")
    return verdict(outcomes, f"nats of {family}: {_listed(told)}", "; ".join(ours))


def _between_lines(found, family):
    """How far a family's line is from the Transformer's at its least and its greatest FLOPs, in percent."""
    own, mqa = (line(found[each].flops, found[each].losses) for each in (family, "MQA"))
    ends = found["MQA"].flops[[0, -1]]
    return " to ".join(f"{each:+.2f} %" for each in 100 * (own(ends) - mqa(ends)) / mqa(ends))


def _listed(told):
    return "; ".join(told) or "too few runs have finished"


CLAIMS = (
    Claim(
        "Loss against FLOPs is a straight line in logarithms",
        "R^2 of at least 0.99 for each family",
        losses_are_lines,
        FIGURE,
        "axes of about 10^18 to 10^22 FLOPs and losses of 2 to 3",
        "text has a floor",
        before="not reproduced from a width of 32 on, with two rates",
    ),
    Claim(
        "Griffin has the lowest loss at every budget",
        "Griffin has fewer nats than MQA and than Hawk at each width",
        griffin_is_lowest,
        FIGURE,
        NOT_GIVEN,
        "Hawk equals it",
        before="partly, against MQA alone, with one seed",
    ),
    Claim(
        "Hawk is slightly above the Transformer",
        "Hawk has more nats than MQA at each width",
        hawk_is_above,
        FIGURE,
        NOT_GIVEN,
        "Python's source favours recurrences",
        before="not reproduced with one seed",
    ),
    Claim(
        "Hawk's distance becomes smaller at greater budgets",
        "Hawk's distance in nats falls with FLOPs; undecided unless Hawk is certainly above MQA on average",
        hawk_comes_nearer,
        FIGURE,
        NOT_GIVEN,
        "Hawk is not above here",
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    read, flops, loss = (table.value(trial, metric) for metric in ("bytes", "flops", "nats"))
    return {
        "MB": "" if math.isnan(read) else f"{read / 1e6:.1f}",
        "TFLOP": "" if math.isnan(flops) else f"{flops / 1e12:.2f}",
        "nats, validation": f"{min(table.curve(trial, 'loss')[1]):.3f}",
        "nats, held-out windows": "" if math.isnan(loss) else f"{loss:.3f}",
    }


def finding(table: Table) -> str:
    """What the fitted lines say of ten times the operations."""
    cuts = {
        family: [1 - 10 ** -float(line(course.flops, course.losses).exponent)]
        for family, course in courses(table).items()
        if len(course.widths) >= LEAST_SIZES and family in FAMILIES
    }
    return ranking("By the solid lines 10 times the FLOPs cut the loss of {} by {} %", cuts)


def draw(table: Table) -> Figure:
    """Loss against operations, by seed and with the ring's decays, both fits, and below the distance from the lines."""
    figure, (above, below) = panels(2, heights=(3, 1))
    found = courses(table)
    for family, (colour, marker) in STYLES.items():
        if family not in found:
            continue
        course = found[family]
        for flops, seeds in zip(course.flops, course.nats, strict=True):
            above.plot([flops] * len(seeds), seeds, marker, color=colour, markersize=4, alpha=0.6)
        if len(course.widths) >= LEAST_SIZES:
            smooth = np.geomspace(course.flops[0] / 1.2, course.flops[-1] * 1.2)
            straight, bent = (fit(course.flops, course.losses) for fit in (line, above_a_floor))
            for fit, style in ((straight, "-"), (bent, ":")):
                above.plot(smooth, fit(smooth), color=colour, linewidth=1.2, linestyle=style)
            away = 100 * residuals(straight, course.flops, course.losses)
            below.plot(course.flops, away, color=colour, marker=marker, markersize=4, linewidth=1)
        if ring := found.get(f"{family}{RING}"):
            above.plot(ring.flops, ring.losses, marker, color=colour, markersize=5, markerfacecolor="none")
    above.text(0.02, 0.05, "hollow: with the ring's decays", color="gray", transform=above.transAxes)
    above.set_xscale("log")
    above.set_yscale("log")
    # Of less than a factor of two, which has one tick otherwise.
    above.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 5.0, 8.0, 9.0)))
    above.yaxis.set_minor_formatter(NullFormatter())
    above.yaxis.set_major_formatter(lambda value, _: f"{value:.1f}")
    fits = r"solid $\log L = k - \alpha\,\log C$, dotted $L = E + A\,C^{-\alpha}$"
    above.set(title=f"Held-out loss, {fits}", ylabel="nats a byte")
    below.axhline(0, color="gray", linestyle=":", linewidth=1)
    below.set(xlabel="FLOPs of training", ylabel="above line, %")
    return figure
