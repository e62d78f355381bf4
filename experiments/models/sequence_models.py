"""Recurrent layers in the same shell at equal parameters: the model, its training and its measurements.

    x = Dense(width)(features)
    twice:  x = x + layer(norm(x))
            x = x + Dense(width)(gelu(Dense(2 width)(norm(x))))
    Dense(outputs)(norm(x))

The blocks are Griffin's (section 2.1), with the layer itself as their temporal mixing. The answer is that of every
step, of the last one, or of the steps' mean.
"""

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from experiments.harness import search
from experiments.harness.run import Run
from experiments.harness.table import Table, Trial
from experiments.harness.training import SAVE_EVERY, Measurement, TaskData, jit_compile
from keras_griffin.inspection.plots import FAMILY_COLOURS
from keras_griffin.layers import CGLRU, RGLRU
from keras_griffin.training import ResumableRun, default_optimizer

#: RGLRU with the first decays of the released code.
RING = "RGLRU, ring"
LAYERS: dict[str, type[keras.layers.Layer]] = {
    "RGLRU": RGLRU,
    RING: RGLRU,
    "CGLRU": CGLRU,
    "LSTM": layers.LSTM,
    "GRU": layers.GRU,
}
#: The arguments of this library's layers: the paper's first decays, but for one.
ARGUMENTS: dict[str, dict[str, str]] = {
    "RGLRU": {"decay_initializer": "paper"},
    RING: {"decay_initializer": "ring"},
    "CGLRU": {"decay_initializer": "paper"},
}
#: Those whose width is an argument; the others keep that of their input.
WITH_UNITS = ("LSTM", "GRU")
STYLES = {name: (FAMILY_COLOURS[name], marker) for name, marker in zip(LAYERS, "sPDo^", strict=True)}
#: What `report.py` says of the learning rates.
RATES = (
    "Learning rates: on each task a layer keeps the rate with the least validation loss of the first seed; every run "
    "is above."
)
#: Rows to validate or test at once.
EVALUATED = 100


class Part(NamedTuple):
    """Sequences and what is asked of them: a batch, or all rows of the validation or the test."""

    #: `(N, T, F)` float32.
    features: np.ndarray
    #: Classes `(N,)` int32, or numbers `(N, 1)` or, at every step, `(N, T, 1)`, float32.
    targets: np.ndarray
    #: `(N,)`, or `(N, T)` with targets at every step; their mean is 1.
    weights: np.ndarray


class Task(NamedTuple):
    """A task of sequences."""

    #: Rows to train on: a function of their number and a seed.
    sample: Callable[[int, int], Part]
    validation: Part
    test: Part
    #: Which outputs the answer is made of: `mean` or `last`; None for an answer at every step.
    pool: str | None
    #: None for numbers.
    num_classes: int | None = None


#: A metric and a value of a trained model.
Tested = tuple[str, float]


def rows_at_random(part: Part, rows: int, seed: int) -> Part:
    """Rows of a training set, drawn with replacement."""
    chosen = np.random.default_rng(seed).integers(0, len(part.features), size=rows)
    return Part(*(array[chosen] for array in part))


# Model


def shell(width: int) -> str:
    """What the reports say of the models.

    Args:
        width: of RGLRU.
    """
    return (
        "All layers stand in the same two residual blocks, each with an MLP of twice the width, after RMSNorm. RGLRU "
        f"and CGLRU have a width of {width}, LSTM and GRU that at which the model comes closest to RGLRU's parameters. "
        "Training takes about six FLOPs a parameter and step of a row. The first decays are the paper's, but for RGLRU "
        "with those of the ring, the released code's: it was added, with its claim, when the first runs had shown "
        "RGLRU far behind on the digits. Adam (beta_2 0.99, gradients clipped to norm 1, no weight decay) with a "
        "cosine of the rate; the tested weights are those of the least validation loss. Time is the processor's, of "
        "the training steps alone."
    )


def make_model(layer: str, width: int, task: Task) -> keras.Model:
    """A layer in its shell.

    Args:
        layer: a key of `LAYERS`.
        width: of the layer and of the residual stream.
        task: its features, outputs and pool.
    """
    inputs = keras.Input(task.validation.features.shape[1:])
    x = layers.Dense(width)(inputs)
    for _ in range(2):
        units = (width,) if layer in WITH_UNITS else ()
        unit = LAYERS[layer](*units, return_sequences=True, **ARGUMENTS.get(layer, {}))
        x = layers.add([x, unit(layers.RMSNormalization()(x))])
        hidden = layers.Dense(2 * width, activation="gelu")(layers.RMSNormalization()(x))
        x = layers.add([x, layers.Dense(width)(hidden)])
    if task.pool == "last":
        x = x[:, -1]
    x = layers.RMSNormalization()(x)
    if task.pool == "mean":
        x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(task.num_classes or 1)(x))


def parameters_of(layer: str, width: int, task: Task) -> int:
    """The parameters of `make_model`, without its weights."""
    if layer in WITH_UNITS:
        unit = {"LSTM": 4 * width * (2 * width + 1), "GRU": 3 * width * (2 * width + 2)}[layer]
    else:
        unit = sum(math.prod(weight.shape) for weight in LAYERS[layer].weights_of(width).values())
    num_features, outputs = task.validation.features.shape[-1], task.num_classes or 1
    mlp_and_norms = 4 * width**2 + 5 * width
    return (num_features + 1) * width + 2 * (unit + mlp_and_norms) + width + (width + 1) * outputs


def width_of(layer: str, width: int, task: Task) -> int:
    """The width at which a layer's model is closest to the parameters of RGLRU's.

    Args:
        layer: a key of `LAYERS`.
        width: of RGLRU, and of CGLRU, which has nearly as many parameters.
        task: to make the models for.
    """
    if layer not in WITH_UNITS:
        return width
    wanted = parameters_of("RGLRU", width, task)
    counts = {each: parameters_of(layer, each, task) for each in range(width // 2, width + 1)}
    return min(counts, key=lambda each: abs(counts[each] - wanted))


def build(run: Run, task: Task) -> keras.Model:
    """The compiled model of a run."""
    width = width_of(run.family, run.data["width"], task)
    keras.utils.clear_session()
    # The generator from which Keras draws the seeds of initialisers.
    random.seed(run.seed)
    model = make_model(run.family, width, task)
    is_class = task.num_classes is not None
    model.compile(
        default_optimizer(model, run.learning_rate, steps=run.steps, weight_decay=0.0, beta_2=0.99),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True) if is_class else "mse",
        weighted_metrics=["accuracy"] if is_class else [],
        jit_compile=jit_compile(run),
    )
    return model


# Training


def train(
    run: Run, folder: Path, task: Task, test: Callable[[keras.Model, Task], Iterable[Tested]]
) -> list[Measurement]:
    """Train a run's model, or resume its training, and measure it.

    Args:
        run: its description; `data` has the `width` of RGLRU.
        folder: for the files from which it can resume; they are removed at its end.
        task: to train on.
        test: what to measure in the trained model.

    Returns:
        The measurements: the model's size, the validations, the tests, the processor's seconds and the seconds.
    """
    model = build(run, task)
    best = keras.callbacks.EarlyStopping(patience=run.steps, restore_best_weights=True)
    clock = StepTime()
    course = ResumableRun(folder, save_every=SAVE_EVERY, keep=1)
    history = course.fit(
        model,
        TaskData(run, lambda run, rows, seed: task.sample(rows, seed)),
        epochs=-(-run.steps // run.validate_every),
        validation_data=tuple(task.validation),
        validation_batch_size=EVALUATED,
        callbacks=[best, clock],
        verbose=0,
    ).history
    seconds = course.seconds
    last = len(history["val_loss"]) * run.validate_every
    validations = {name.removeprefix("val_"): values for name, values in history.items() if name.startswith("val_")}
    measured = [
        Measurement(run.setting, 0, "parameters", model.count_params()),
        *(
            Measurement(run.setting, (1 + epoch) * run.validate_every, name, value)
            for name, values in validations.items()
            for epoch, value in enumerate(values)
        ),
        *(Measurement(run.setting, last, name, value) for name, value in test(model, task)),
        Measurement(run.setting, last, "cpu_seconds", last * clock.seconds / clock.steps),
        Measurement(run.setting, last, "seconds", seconds),
    ]
    course.remove()
    return measured


class StepTime(keras.callbacks.Callback):
    """Measures the processor's time of training steps, which other work on the machine hardly changes.

    An epoch's first step is left out: it may compile, or follow a validation.

    Attributes:
        seconds: of the measured steps, on all cores.
        steps: that were measured.
    """

    #: What `ResumableRun` saves with the model.
    saved_attributes = ("seconds", "steps")

    def __init__(self):
        super().__init__()
        self.seconds, self.steps = 0.0, 0
        self._last: float | None = None

    def on_epoch_begin(self, epoch, logs=None):
        """Forget the validation before it."""
        self._last = None

    def on_train_batch_end(self, batch, logs=None):
        """Add the time since the step before."""
        # To read the loss is to wait for the step.
        float(logs["loss"])
        now = time.process_time()
        if self._last is not None:
            self.seconds += now - self._last
            self.steps += 1
        self._last = now


def tested(model: keras.Model, task: Task) -> dict[str, float]:
    """The loss on the test rows, and the accuracy if they have classes: by the program of the validation."""
    return model.evaluate(*task.test[:2], EVALUATED, 0, task.test.weights, return_dict=True)


# Search


def planned(
    make_run: Callable[[str, Any, float, int], Run],
    rungs: Sequence[Any],
    rates: Sequence[float],
    seeds: Sequence[int],
    table: Table,
    names: Iterable[str],
) -> list[Run]:
    """The search on a task's first rung, and every rung and seed for the layers whose search has finished.

    Args:
        make_run: a function of the layer, the rung, the rate and the seed.
        rungs: of one task, from the easiest.
        rates: to search.
        seeds: the first is that of the search.
        table: of the finished runs.
        names: of the layers.
    """
    names = tuple(names)
    own = of_task(table, make_run(names[0], rungs[0], rates[0], seeds[0]).setting)
    return search.planned(make_run, rungs, rates, seeds, own, names, is_closed=True)


def is_kept(table: Table, trial: Trial) -> bool:
    """Whether a run has the learning rate that its layer keeps on its task."""
    return search.is_kept(of_task(table, trial.setting), trial)


def kept_trials(table: Table, setting: str) -> list[Trial]:
    """The runs in a setting at the rates that were kept."""
    return [trial for trial in table.trials(setting=setting) if is_kept(table, trial)]


def means_of_tasks(table: Table, settings: Iterable[str], value: Callable[[Trial], float]) -> dict[str, list[float]]:
    """The means of a measure in some settings, by layer; only layers that are tested in each."""
    found = {
        layer: [[value(trial) for trial in kept_trials(table, each) if trial.family == layer] for each in settings]
        for layer in LAYERS
    }
    return {layer: [float(np.mean(each)) for each in tasks] for layer, tasks in found.items() if all(tasks)}


def trials_by_seed(table: Table, setting: str, names: Iterable[str]) -> dict[int, dict[str, Trial]]:
    """The runs in a setting at the rates that were kept, by seed and layer; only seeds that all these layers have."""
    return search.trials_by_seed(of_task(table, setting), setting, names)


def of_task(table: Table, setting: str) -> Table:
    """The rows of a setting's task, which its words before a comma name; its rungs share a search."""
    task = setting.partition(",")[0]
    return Table(row for row in table.rows if row.setting.partition(",")[0] == task)
