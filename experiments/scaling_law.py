"""Loss against the operations of training, for models of several sizes. Section 3, Figure 1a."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.data.long_text import text_name, window_batch
from experiments.harness.by_group import grouped, groups
from experiments.harness.claims import NOT_GIVEN, Claim, Verdict, verdict
from experiments.harness.earlier import best, resampled, spread
from experiments.harness.intervals import Interval, in_short, interval, is_above, is_below
from experiments.harness.plots import Figure, panels
from experiments.harness.power_laws import above_a_floor, line, r_squared, residuals
from experiments.harness.run import Run
from experiments.harness.table import Table, Trial
from experiments.harness.training import Test, cosine_rate
from experiments.harness.window_nats import nats_of_windows
from experiments.harness.words import ranking
from experiments.models.families import FAMILIES, STYLES, TINY, training_flops
from keras_griffin.models import GriffinConfig, LanguageModel, presets

TITLE = "Scaling law"
FIGURE = "Figure 1a"
PAPER = (
    "From 100 million to 7 billion parameters, each size trained on about 20 tokens a parameter, the held-out loss of "
    "every family is a straight line against FLOPs in logarithms. Griffin is lowest at every budget, and Hawk "
    "slightly above the Transformer, by less at greater budgets."
)
DIFFERS = (
    "Three blocks of widths 32 to 96 read bytes of the source of Python's standard library in rows of 256, with a "
    "window of 128 and heads of 16 channels. A size is trained on 40 bytes for each parameter of its Griffin, and all "
    "families of the size on the same bytes, as in the paper's Table 2. The embedding does not count there: its 256 "
    "rows are a sixth of the parameters of the narrowest model and a fifteenth of the widest's. FLOPs are those of "
    "training, with the logits. The claims compare models of the same width, where the Transformer has up to a third "
    "more FLOPs than Hawk; the evidence has the distances at equal FLOPs too. Nats are means over a byte of the same "
    "held-out windows of 1,024 bytes, each cut into rows of 256; intervals of 95 % come from a bootstrap over the "
    "windows, so they do not have the spread of seeds, of which there is one. RoPE rotates all channels. Adam (beta_2 "
    "0.99, gradients clipped to norm 1, weight decay 0.1) with a cosine of the rate to a tenth."
)
RATES = (
    "Learning rates: at each of two widths every family keeps the rate with the least loss with the first seed; "
    "between these widths its rate is interpolated in logarithms, and beyond them it is that of the nearer one; every "
    "run is above. No greater rates were tried."
)
#: The explained share of the variance from which losses are a line, and the sizes that tell.
STRAIGHT = 0.99
LEAST_SIZES = 3
#: Validations of a run.
VALIDATIONS = 5


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
    families: tuple[str, ...] = tuple(FAMILIES)
    seeds: tuple[int, ...] = (0,)
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
            for width in (32, 48, 64, 80, 96)
        ),
        searched=(32, 64),
        learning_rates=(3e-3, 6e-3),
        bytes_per_parameter=40,
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
        learning_rates=(2e-4, 4e-4),
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
            config=configs[width],
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
        )

    finished, runs, ladder = {trial.run for trial in table.trials()}, [], []
    for family in size.families:
        search = [run(family, width, rate, seeds[0]) for width in size.searched for rate in size.learning_rates]
        runs += search
        if {each.identity for each in search} <= finished:
            found = {width: kept_rate(table, family, name(width), seeds[0]) for width in size.searched}
            ladder += [run(family, width, rate_at(width, found), seed) for width in configs for seed in seeds]
    # The longest first, so that processes that share them end together.
    ladder.sort(key=lambda each: -each.steps)
    return list({each.identity: each for each in [*runs, *ladder]}.values())


def steps_of(size: Size, config: GriffinConfig) -> int:
    """The steps in which a size of the models, in all families, reads the bytes of its Griffin: whole validations."""
    budget = size.bytes_per_parameter * config.parameter_count(embedding=False)
    return VALIDATIONS * max(1, round(budget / (VALIDATIONS * size.batch_size * size.length)))


def kept_rate(table: Table, family: str, setting: str, seed: int) -> float | None:
    """The learning rate that a family keeps at a width, from the runs with a seed; None if there are none."""
    trials = [trial for trial in table.trials(family, setting) if trial.seed == seed]
    return best(table, trials).learning_rate if trials else None


def rate_at(width: int, found: dict[int, float]) -> float:
    """A learning rate between those found at some widths, in logarithms; beyond them, that of the nearest."""
    widths = sorted(found)
    rates = [math.log(found[each]) for each in widths]
    # Digits that a table keeps.
    return float(f"{math.exp(np.interp(math.log(width), np.log(widths), rates)):.3g}")


def is_kept(table: Table, trial: Trial) -> bool:
    """Whether a run has the learning rate that its family keeps at its width."""
    return kept_rate(table, trial.family, trial.setting, table.trials()[0].seed) in (trial.learning_rate, None)


def name(width: int) -> str:
    """A setting in words."""
    return f"width {width:,}"


def width_of(setting: str) -> int:
    """The width that a setting names."""
    return int(setting.split()[1].replace(",", ""))


make_batch = window_batch
optimizer = cosine_rate


def test(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The operations and the bytes of training, and the nats of held-out windows."""
    read = run.steps * run.batch_size * run.data["length"]
    yield run.setting, "bytes", read
    yield run.setting, "flops", read * training_flops(model.config, run.data["length"])
    yield from grouped(run.setting, "nats", nats_of_windows(run, model))


# Claims


class Course(NamedTuple):
    """What a family has at the S widths that have finished, from the narrowest."""

    widths: list[int]
    #: Operations of training, `(S,)`.
    flops: np.ndarray
    #: Of each held-out window, `(S, W)`.
    nats: np.ndarray

    @property
    def losses(self) -> np.ndarray:
        """The mean nats at each width: `(S,)`."""
        return self.nats.mean(axis=1)


def courses(table: Table) -> dict[int, dict[str, Course]]:
    """What has been tested, at the rates that were kept, by seed and family."""
    found: dict[int, dict[str, dict[int, Trial]]] = {}
    for trial in table.trials():
        if is_kept(table, trial) and len(groups(table, trial, "nats")):
            found.setdefault(trial.seed, {}).setdefault(trial.family, {})[width_of(trial.setting)] = trial
    return {
        seed: {family: _course(table, families[family]) for family in FAMILIES if family in families}
        for seed, families in sorted(found.items())
    }


def _course(table, trials):
    own = [trials[width] for width in sorted(trials)]
    flops = np.array([table.value(trial, "flops") for trial in own])
    return Course(sorted(trials), flops, np.stack([groups(table, trial, "nats") for trial in own]))


def losses_are_lines(table: Table) -> Verdict:
    """The losses of each family are a line against the operations, in logarithms."""
    outcomes, told, shares = [], [], []
    for families in courses(table).values():
        for family, course in families.items():
            if len(course.widths) >= LEAST_SIZES:
                explained = r_squared(line(course.flops, course.losses), course.flops, course.losses)
                outcomes.append(bool(explained >= STRAIGHT))
                told.append(f"{family} {explained:.4f}, {_fits(course)}")
                shares.append(f"{family} {explained:.3f}")
            else:
                outcomes.append(None)
    words = f"R^2 of log L = k - alpha log C, alpha, and E of L = E + A C^-alpha: {_listed(told)}"
    return verdict(outcomes, words, f"R^2 {', '.join(shares)}" if shares else "")


def griffin_is_lowest(table: Table) -> Verdict:
    """Griffin is better than the Transformer at each width."""
    return _at_each_width(table, "Griffin", lambda found: is_below(found, 0.0))


def hawk_is_above(table: Table) -> Verdict:
    """Hawk is worse than the Transformer at each width."""
    return _at_each_width(table, "Hawk", lambda found: is_above(found, 0.0))


def hawk_comes_nearer(table: Table) -> Verdict:
    """Hawk's distance from the Transformer, in units of the loss, falls; undecided unless it is above on average.

    Also where Hawk is below, the evidence says whether the two approach each other.
    """
    outcomes, told = [], []
    for families in courses(table).values():
        hawk, mqa, flops = _both(families, "Hawk")
        if len(flops) < 2:
            outcomes.append(None)
            continue
        drawn = _distance(resampled(hawk), resampled(mqa))
        distance = _distance(hawk.mean(axis=1), mqa.mean(axis=1))
        mean = spread(distance.mean(), drawn.mean(axis=-1))
        change = spread(_slope(flops, distance), _slope(flops, drawn))
        outcomes.append(is_below(change, 0.0) if is_above(mean, 0.0) else None)
        values = ", ".join(f"{each:+.2f}" for each in distance)
        told.append(f"{values} % of the loss, and for 10 times the FLOPs {change} %: {_approach(mean, change)}")
    ours = f"Hawk less MQA {values} % of the loss" if told else ""
    return verdict(outcomes, f"Hawk less MQA, from the narrowest: {_listed(told)}", ours)


def _at_each_width(table, family, holds):
    """The verdict of differences from the Transformer at each width, and the distance of the lines at equal FLOPs."""
    outcomes, told, all_found = [], [], []
    for families in courses(table).values():
        own, mqa, flops = _both(families, family)
        found = [interval(difference) for difference in own - mqa]
        outcomes += [holds(each) for each in found]
        all_found += found
        told += [", ".join(map(str, found))] if found else []
        if len(flops) >= 2:
            told.append(f"at equal FLOPs, between the lines, {_between_lines(families, family)}")
    words = f"nats of {family} less those of MQA, from the narrowest: {_listed(told)}"
    return verdict(outcomes, words, in_short(all_found, f"nats, {family} less MQA"))


def _both(families, family):
    """The nats of a family and of the Transformer at the widths that both have, `(S, W)`, and the latter's FLOPs."""
    own, mqa = (families.get(each, Course([], np.zeros(0), np.zeros((0, 1)))) for each in (family, "MQA"))
    widths = [width for width in mqa.widths if width in own.widths]
    ours, theirs = ([course.widths.index(width) for width in widths] for course in (own, mqa))
    return own.nats[ours], mqa.nats[theirs], mqa.flops[theirs]


def _distance(own, mqa):
    return 100 * (own - mqa) / mqa


def _slope(flops, distances):
    """The change of distances `(..., S)` where operations become ten times as many."""
    away = np.log10(flops) - np.log10(flops).mean()
    return (distances * away).sum(axis=-1) / np.square(away).sum()


def _approach(mean: Interval, change: Interval) -> str:
    if is_above(mean, 0.0) is None or is_above(change, 0.0) is None:
        return "not certain whether they approach each other"
    return "they move apart" if (mean.mean > 0) == (change.mean > 0) else "they approach each other"


def _between_lines(families, family):
    """How far a family's line is from the Transformer's at its least and its greatest FLOPs, in percent."""
    own, mqa = (line(families[each].flops, families[each].losses) for each in (family, "MQA"))
    ends = families["MQA"].flops[[0, -1]]
    return " to ".join(f"{each:+.2f} %" for each in _distance(own(ends), mqa(ends)))


def _fits(course):
    """The exponent of the line and the floor of the other power law, with their intervals."""
    drawn = resampled(course.nats)
    exponent = spread(line(course.flops, course.losses).exponent, line(course.flops, drawn).exponent)
    floor = spread(above_a_floor(course.flops, course.losses).floor, above_a_floor(course.flops, drawn).floor)
    return " and ".join(f"{each.mean:.3f} ({each.low:.3f} to {each.high:.3f})" for each in (exponent, floor))


def _listed(told):
    return "; ".join(told) or "too few runs have finished"


CLAIMS = (
    Claim(
        "Loss against FLOPs is a straight line in logarithms",
        "R^2 of at least 0.99 for each family",
        losses_are_lines,
        FIGURE,
        "axes of about 10^18 to 10^22 FLOPs and losses of 2 to 3",
        why="the narrowest models' rates end early",
    ),
    Claim(
        "Griffin has the lowest loss at every budget",
        "Griffin has fewer nats than MQA at each width",
        griffin_is_lowest,
        FIGURE,
        NOT_GIVEN,
        why="even at the least width",
    ),
    Claim(
        "Hawk is slightly above the Transformer",
        "Hawk has more nats than MQA at each width",
        hawk_is_above,
        FIGURE,
        NOT_GIVEN,
        why="small models, one seed",
    ),
    Claim(
        "Hawk's distance becomes smaller at greater budgets",
        "Hawk's distance in % of the loss falls with FLOPs; undecided unless Hawk is above MQA on average",
        hawk_comes_nearer,
        FIGURE,
        NOT_GIVEN,
        why="Hawk is not above here",
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
    cuts: dict[str, list[float]] = {family: [] for family in FAMILIES}
    for families in courses(table).values():
        for family, course in families.items():
            if len(course.widths) >= LEAST_SIZES:
                cuts[family].append(1 - 10 ** -float(line(course.flops, course.losses).exponent))
    return ranking("By the solid lines 10 times the FLOPs cut the loss of {} by {} %", cuts)


def draw(table: Table) -> Figure:
    """Loss against operations with both fits, and below how far it is from the line."""
    figure, (above, below) = panels(2, heights=(3, 1))
    for families in courses(table).values():
        for family, course in families.items():
            colour, marker = STYLES[family]
            above.plot(course.flops, course.losses, marker, color=colour, markersize=5)
            if len(course.widths) >= LEAST_SIZES:
                smooth = np.geomspace(course.flops[0] / 1.2, course.flops[-1] * 1.2)
                straight, bent = (fit(course.flops, course.losses) for fit in (line, above_a_floor))
                for fit, style in ((straight, "-"), (bent, ":")):
                    above.plot(smooth, fit(smooth), color=colour, linewidth=1.2, linestyle=style)
                away = 100 * residuals(straight, course.flops, course.losses)
                below.plot(course.flops, away, color=colour, marker=marker, markersize=4, linewidth=1)
    above.set_xscale("log")
    above.set_yscale("log")
    above.yaxis.set_minor_formatter(lambda value, _: f"{value:.1f}")
    above.yaxis.set_major_formatter(lambda value, _: f"{value:.1f}")
    fits = r"solid $\log L = k - \alpha\,\log C$, dotted $L = E + A\,C^{-\alpha}$"
    above.set(title=f"Held-out loss, {fits}", ylabel="nats a byte")
    below.axhline(0, color="gray", linestyle=":", linewidth=1)
    below.set(xlabel="FLOPs of training", ylabel="above line, %")
    return figure
