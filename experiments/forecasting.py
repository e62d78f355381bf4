"""Series to forecast, and numbers to add across many steps: this library's units beside LSTM and GRU."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from matplotlib.ticker import MaxNLocator

from experiments.data.adding_problem import BASELINE, adding_problem
from experiments.data.series import Forecast, Windows, forecast_task
from experiments.harness.by_group import difference, groups, parts
from experiments.harness.claims import Claim, Verdict, verdict
from experiments.harness.intervals import is_below
from experiments.harness.plots import Figure, dot, panels
from experiments.harness.run import Run
from experiments.harness.table import Table, Trial
from experiments.harness.training import TESTING, VALIDATION, Measurement
from experiments.harness.words import count, ranking
from experiments.models import sequence_models
from experiments.models.sequence_models import (
    EVALUATED,
    LAYERS,
    RING,
    STYLES,
    Task,
    kept_trials,
    means_of_tasks,
    shell,
    tested,
    train,
    trials_by_seed,
)

#: Of RGLRU.
WIDTH = 32
TITLE = "Forecasting"
FIGURE = "beyond the paper"
PAPER = (
    "It trains on no series. Hochreiter and Schmidhuber (1997) gave the adding problem to LSTM: the sum of two marked "
    "numbers among many, of which the best constant has a mean squared error of 0.167."
)
DIFFERS = (
    "A network reads a window and forecasts at each of its later steps: the Mackey-Glass series (delay 17) 84 steps "
    "ahead, monthly temperatures of the sea off Peru 6 months, weekly carbon dioxide on Mauna Loa 26 weeks and yearly "
    "sunspots one year; or it adds two numbers of 200 or 800 after the last. Series are cut in time: 70 % to train on, "
    "15 % to validate and the last 15 % to test, which are 1,408, 108, 312 and 44 forecasts. NRMSE is the root of the "
    "mean squared error over the deviation of what was to be forecast. Errors are compared with 95 % intervals from a "
    "bootstrap over blocks of neighbouring forecasts, at least as many as a forecast is ahead. The naive forecast is "
    "what was to be forecast 100 steps before, which are two periods of the chaotic series, or a year before. "
    f"{shell(WIDTH)}"
)
#: The error against LSTM's up to which RGLRU is as good.
TOLERANCE = 1.05
#: The mean squared error from which the adding problem is solved.
SOLVED = 0.01


# Config


@dataclass(frozen=True)
class Sums:
    """The adding problem."""

    length: int


@dataclass(frozen=True)
class Rung:
    """What to learn, in how many steps at most, from so many rows in each."""

    setting: str
    problem: Sums | Forecast
    steps: int
    batch_size: int


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    #: The tasks, each from its easiest rung, on which the rates are searched.
    tasks: tuple[tuple[Rung, ...], ...]
    learning_rates: tuple[float, ...]
    width: int = WIDTH
    layers: tuple[str, ...] = tuple(LAYERS)
    seeds: tuple[int, ...] = (0, 1)
    validate_every: int = 100
    #: Of the adding problem; a series has those that it gives.
    validation_rows: int = 200
    test_rows: int = 1000


#: Series by setting.
FORECASTS = {
    "Mackey-Glass": Forecast("Mackey-Glass", ahead=84, lag=100, context=128, due=128),
    "sea temperature": Forecast("sea temperature", ahead=6, lag=12, context=36, due=12),
    "carbon dioxide": Forecast("carbon dioxide", ahead=26, lag=52, context=104, due=104, changes=True),
    "sunspots": Forecast("sunspots", ahead=1, lag=1, context=33, due=11),
}


def sums(length: int) -> str:
    """The adding problem in words."""
    return f"sums, {length:,} steps"


def all_tasks(series_steps: int, sums_steps: dict[int, int], batch_size: int) -> tuple[tuple[Rung, ...], ...]:
    """Every series, then the adding problem.

    Args:
        series_steps: on each series.
        sums_steps: by the length of the adding problem.
        batch_size: rows of the adding problem; of a series half as many.
    """
    return (
        *((Rung(setting, problem, series_steps, batch_size // 2),) for setting, problem in FORECASTS.items()),
        tuple(Rung(sums(length), Sums(length), steps, batch_size) for length, steps in sums_steps.items()),
    )


SIZES = {
    "smoke": Size(
        tasks=((Rung(sums(8), Sums(8), steps=4, batch_size=4),),),
        learning_rates=(1e-2,),
        width=8,
        # One model, since compiling takes most of the time.
        layers=("RGLRU",),
        seeds=(0,),
        validate_every=2,
        validation_rows=8,
        test_rows=8,
    ),
    "small": Size(all_tasks(800, {200: 1500, 800: 1500}, batch_size=32), (2e-3, 8e-3)),
    # For an accelerator.
    "paper": Size(
        tasks=all_tasks(20_000, {200: 50_000, 800: 50_000, 5000: 50_000}, batch_size=128),
        learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
        width=256,
        seeds=(0, 1, 2, 3, 4),
        validate_every=500,
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """On each task the search for a learning rate, then its rungs with each seed."""
    size = SIZES[scale]

    def run(layer, rung, learning_rate, seed):
        problem = rung.problem
        is_series = isinstance(problem, Forecast)
        return Run(
            experiment="forecasting",
            scale=scale,
            family=layer,
            config=None,
            data={
                "width": size.width,
                **(problem._asdict() if is_series else {**dataclasses.asdict(problem), "test_rows": size.test_rows}),
            },
            setting=rung.setting,
            batch_size=rung.batch_size,
            steps=rung.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every,
            validation_rows=0 if is_series else size.validation_rows,
            # Judged by an error.
            solved=2.0,
        )

    return [
        each
        for rungs in size.tasks
        for each in sequence_models.planned(run, rungs, size.learning_rates, seeds, table, size.layers)
    ]


def measure(run: Run, folder: Path) -> list[Measurement]:
    """Train a model and test it."""
    if "length" in run.data:
        return train(run, folder, adding_task(run), test_sums)
    windows = forecast_task(Forecast(**{name: run.data[name] for name in Forecast._fields}))
    return train(run, folder, windows.task, functools.partial(test_forecasts, windows=windows))


def adding_task(run: Run) -> Task:
    """The adding problem with new rows in every step."""
    length = run.data["length"]
    return Task(
        lambda rows, seed: adding_problem(rows, length, seed),
        adding_problem(run.validation_rows, length, VALIDATION),
        adding_problem(run.data["test_rows"], length, TESTING),
        pool="last",
    )


def test_sums(model: keras.Model, task: Task) -> Iterator[sequence_models.Tested]:
    """The mean squared error on new rows, and that of the best constant."""
    yield "test_mse", tested(model, task)["loss"]
    yield "naive_mse", BASELINE


def test_forecasts(model: keras.Model, task: Task, windows: Windows) -> Iterator[sequence_models.Tested]:
    """The error on the series' end, and that of the naive forecast; squared, in blocks, for comparisons."""
    due = task.test.weights > 0
    targets = task.test.targets[due]
    forecasts = {"test": model.predict(task.test.features, EVALUATED, verbose=0), "naive": windows.naive}
    errors = {name: ((found[due] - targets) / targets.std()) ** 2 for name, found in forecasts.items()}
    for name, each in errors.items():
        yield f"{name}_nrmse", float(np.sqrt(each.mean()))
    yield from parts("squared_error", errors["test"].reshape(-1, windows.block).mean(axis=1))


is_kept = sequence_models.is_kept
RATES = f"{sequence_models.RATES} The longer sums take the rates of the shortest."


# Claims


def as_good_as_lstm(table: Table, setting: str) -> Verdict:
    """RGLRU's error is at most 5 % above LSTM's; undecided where that is not certain or no one beats the naive one."""
    outcomes, told, naive = _beside_lstm(table, setting, "RGLRU")
    return verdict(outcomes, f"NRMSE of RGLRU for that of LSTM, by seed: {told}; naive forecast {naive:.3f}")


def ring_is_as_good_as_lstm(table: Table) -> Verdict:
    """The same on all series with the first decays of the ring."""
    found = {setting: _beside_lstm(table, setting, RING) for setting in FORECASTS}
    told = "; ".join(f"{setting} {words}" for setting, (_, words, _) in found.items())
    outcomes = [outcome for each, _, _ in found.values() for outcome in each]
    return verdict(outcomes, f"NRMSE of {RING} for that of LSTM, by seed: {told}")


def _beside_lstm(table, setting, layer):
    """Whether a layer is as good, seed by seed, the errors in words, and that of the naive forecast."""
    outcomes, told, naive = [], [], math.nan
    for trials in trials_by_seed(table, setting, (layer, "LSTM")).values():
        ours, theirs = (table.value(trials[each], "test_nrmse") for each in (layer, "LSTM"))
        naive = table.value(trials["LSTM"], "naive_nrmse")
        squares = (groups(table, trials[each], "squared_error") for each in (layer, "LSTM"))
        is_better = is_below(difference(next(squares), TOLERANCE**2 * next(squares)), 0.0)
        outcomes.append(is_better if min(ours, theirs) < naive else None)
        told.append(f"{ours:.3f} for {theirs:.3f}{' (not certain)' if is_better is None else ''}")
    return outcomes, ", ".join(told) or "no seed has finished", naive


def adds_across_800_steps(table: Table) -> Verdict:
    """RGLRU solves the adding problem; it decides nothing if no layer does."""
    outcomes, told = [], {layer: [] for layer in LAYERS}
    for trials in trials_by_seed(table, sums(800), LAYERS).values():
        errors = {layer: table.value(trial, "test_mse") for layer, trial in trials.items()}
        outcomes.append(errors["RGLRU"] < SOLVED if min(errors.values()) < SOLVED else None)
        for layer, error in errors.items():
            told[layer].append(f"{error:.4f}")
    listed = "; ".join(f"{layer} {', '.join(errors)}" for layer, errors in told.items() if errors)
    return verdict(outcomes, f"mean squared error, by seed: {listed or 'no seed has finished'}")


CLAIMS = (
    *(
        Claim(
            f"RGLRU takes the place of an LSTM: {setting}",
            "at equal parameters its NRMSE is at most 5 % greater",
            functools.partial(as_good_as_lstm, setting=setting),
        )
        for setting in FORECASTS
    ),
    Claim(
        "It remembers two numbers across 800 steps",
        "the adding problem with a mean squared error below 0.01",
        adds_across_800_steps,
    ),
    Claim(
        "So does RGLRU with the first decays of the released code: all series",
        "at equal parameters its NRMSE is at most 5 % greater",
        ring_is_as_good_as_lstm,
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    values = {
        f"{words}, {who}": table.value(trial, f"{whose}_{metric}")
        for metric, words in (("nrmse", "NRMSE"), ("mse", "squared error of sums"))
        for whose, who in (("test", "test"), ("naive", "naive"))
    }
    return {
        **{name: "" if math.isnan(value) else f"{value:.4f}" for name, value in values.items()},
        "CPU seconds": count(table.value(trial, "cpu_seconds")),
    }


def finding(table: Table) -> str:
    """The layers' errors in those of the naive forecast, in the mean of the series."""
    series = [setting for setting in table.settings() if setting in FORECASTS]
    ratios = means_of_tasks(
        table, series, lambda trial: 100 * table.value(trial, "test_nrmse") / table.value(trial, "naive_nrmse")
    )
    return ranking("On average {} has {} % of the naive error", ratios, "{:.0f}".format, least_first=True)


def draw(table: Table) -> Figure:
    """The errors on each series beside the naive forecast's, and the course of the longest sums."""
    figure, (left, right) = panels(2, widths=(3, 2), styles=STYLES)
    settings = [setting for setting in table.settings() if setting in FORECASTS]
    for place, setting in enumerate(settings):
        for trial in kept_trials(table, setting):
            shift = 0.16 * (list(STYLES).index(trial.family) - 2)
            dot(left, STYLES[trial.family], place + shift, table.value(trial, "test_nrmse"))
            naive = table.value(trial, "naive_nrmse")
            left.plot([place - 0.4, place + 0.4], [naive, naive], color="gray", linestyle=":", linewidth=1)
    left.set_xticks(range(len(settings)), [setting.replace(" ", "\n") for setting in settings], fontsize="small")
    left.yaxis.set_major_locator(MaxNLocator(nbins=5))
    left.yaxis.set_major_formatter("{x:.2f}")
    left.set(title="Series (dotted: the naive forecast)", ylabel="NRMSE", ylim=(0, None))
    last = [setting for setting in table.settings() if setting not in FORECASTS][-1:]
    for trial in (trial for setting in last for trial in kept_trials(table, setting)):
        colour, marker = STYLES[trial.family]
        steps, errors = table.curve(trial, "loss")
        right.plot(steps, errors, color=colour, marker=marker, markevery=5, markersize=4, linewidth=1.2, alpha=0.8)
    right.axhline(SOLVED, color="gray", linestyle=":", linewidth=1)
    right.set_yscale("log")
    right.set(title="".join(last).capitalize(), xlabel="steps", ylabel="mean squared error")
    return figure
