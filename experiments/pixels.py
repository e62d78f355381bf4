"""Images and signals read a number a step, to be classified: this library's units beside LSTM and GRU."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from matplotlib.ticker import MaxNLocator

from experiments.data import pixel_data
from experiments.harness.claims import Claim, Verdict, verdict
from experiments.harness.plots import Figure, dot, panels
from experiments.harness.run import Run
from experiments.harness.table import Table, Trial
from experiments.harness.training import Measurement
from experiments.harness.words import count, percent, ranking
from experiments.models import sequence_models
from experiments.models.sequence_models import (
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
WIDTH = 64
TITLE = "Pixels"
FIGURE = "beyond the paper"
PAPER = (
    "It trains no classifier. Published accuracies on MNIST-1D (Greydanus and Kobak, arXiv 2011.14439): logistic "
    "regression 32 %, an MLP 68 %, a GRU 91 %, a convolution 94 %, humans 96 %."
)
DIFFERS = (
    "A network reads scikit-learn's handwritten digits (64 steps), the signals of MNIST-1D (40 steps) and, where "
    "Debian's files are, every second row and column of Fashion-MNIST (196 steps), and classifies the mean of its "
    f"outputs. {shell(WIDTH)}"
)
#: The accuracy from which a model has learnt a task; one in ten guesses is right.
LEARNT = 0.5
#: What RGLRU may lose against GRU, and the share of GRU's time that it may take.
LOSS, SHARE = 0.02, 1 / 3


# Config


@dataclass(frozen=True)
class Images:
    """A set of `pixel_data.py`, the steps in which to learn it, and at most so many seeds."""

    name: str
    steps: int
    most_seeds: int = 3


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    sets: tuple[Images, ...]
    learning_rates: tuple[float, ...]
    width: int = WIDTH
    layers: tuple[str, ...] = tuple(LAYERS)
    seeds: tuple[int, ...] = (0, 1, 2)
    batch_size: int = 32
    validate_every: int = 100


SIZES = {
    "smoke": Size(
        sets=(Images("bumps", steps=4),),
        learning_rates=(1e-2,),
        width=8,
        # One model, since compiling takes most of the time.
        layers=("RGLRU",),
        seeds=(0,),
        batch_size=4,
        validate_every=2,
    ),
    "small": Size((Images("digits", 1500), Images("MNIST-1D", 4000), Images("Fashion-MNIST", 2000, 1)), (2e-3, 8e-3)),
    # For an accelerator.
    "paper": Size(
        sets=tuple(Images(name, 50_000, 5) for name in ("digits", "MNIST-1D", "Fashion-MNIST")),
        learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
        width=256,
        seeds=(0, 1, 2, 3, 4),
        batch_size=128,
        validate_every=500,
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """On each set the search for a learning rate, then each seed."""
    size = SIZES[scale]

    def run(layer, images, learning_rate, seed):
        return Run(
            experiment="pixels",
            scale=scale,
            family=layer,
            config=None,
            data={"set": images.name, "width": size.width},
            setting=images.name,
            batch_size=size.batch_size,
            steps=images.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every,
            # Those of the set; none is ever learnt.
            validation_rows=0,
            solved=2.0,
        )

    return [
        each
        for images in size.sets
        if images.name in pixel_data.available()
        for each in sequence_models.planned(
            run, [images], size.learning_rates, seeds[: images.most_seeds], table, size.layers
        )
    ]


def measure(run: Run, folder: Path) -> list[Measurement]:
    """Train a model and test it."""
    return train(run, folder, pixel_data.task(run.data["set"]), test)


def test(model: keras.Model, task: Task) -> Iterator[sequence_models.Tested]:
    """The accuracy on the test rows."""
    yield "test_accuracy", tested(model, task)["accuracy"]


is_kept = sequence_models.is_kept
RATES = sequence_models.RATES


# Claims


def as_accurate_as_gru(table: Table, layer: str = "RGLRU") -> Verdict:
    """RGLRU loses at most two points against GRU; a set that neither has learnt decides nothing."""

    def outcome(ours, theirs):
        return ours >= theirs - LOSS if max(ours, theirs) >= LEARNT else None

    return _compared(table, layer, "test_accuracy", "accuracy in %", percent, outcome)


def three_times_as_fast(table: Table) -> Verdict:
    """RGLRU's training takes at most a third of the time of GRU's."""
    return _compared(table, "RGLRU", "cpu_seconds", "CPU seconds", count, lambda ours, theirs: ours <= SHARE * theirs)


def _compared(table, layer, metric, words, tell, holds):
    """The verdict of a layer's numbers beside GRU's, set by set and seed by seed."""
    outcomes, told = [], []
    for setting in table.settings():
        pairs = [
            tuple(table.value(trials[each], metric) for each in (layer, "GRU"))
            for trials in trials_by_seed(table, setting, (layer, "GRU")).values()
        ]
        outcomes += [None if np.isnan(pair).any() else holds(*pair) for pair in pairs]
        listed = ", ".join(f"{tell(ours)} for {tell(theirs)}" for ours, theirs in pairs)
        told.append(f"{setting} {listed or 'not finished'}")
    return verdict(outcomes, f"{words} of {layer} for those of GRU, by seed: {'; '.join(told)}")


CLAIMS = (
    Claim(
        "RGLRU takes the place of a GRU",
        "at equal parameters it is at most 2 points less accurate",
        as_accurate_as_gru,
    ),
    Claim("It trains faster", "the same steps take at most a third of the processor's time", three_times_as_fast),
    Claim(
        "So does RGLRU with the first decays of the released code",
        "at equal parameters it is at most 2 points less accurate",
        functools.partial(as_accurate_as_gru, layer=RING),
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    return {
        "best validation, %": percent(max(table.curve(trial, "accuracy")[1], default=np.nan)),
        "test, %": percent(table.value(trial, "test_accuracy")),
        "CPU seconds": count(table.value(trial, "cpu_seconds")),
    }


def finding(table: Table) -> str:
    """The layers' accuracies, in the mean of the sets."""
    shares = means_of_tasks(table, table.settings(), lambda trial: table.value(trial, "test_accuracy"))
    return ranking("On average {} names {} % right", shares)


def draw(table: Table) -> Figure:
    """Accuracy against the time of training, a panel for each set and a dot for each seed."""
    settings = table.settings()
    figure, axes = panels(len(settings), styles=STYLES)
    for each, setting in zip(axes, settings, strict=True):
        for trial in kept_trials(table, setting):
            seconds, share = (table.value(trial, metric) for metric in ("cpu_seconds", "test_accuracy"))
            dot(each, STYLES[trial.family], seconds, 100 * share)
        each.margins(x=0.1)
        each.xaxis.set_major_locator(MaxNLocator(nbins=4))
        each.set(title=setting, xlabel="CPU seconds of training")
        # Room for the last marker.
        each.set_xlim(0, 1.05 * each.get_xlim()[1])
    axes[0].set_ylabel("right classes, %")
    return figure
