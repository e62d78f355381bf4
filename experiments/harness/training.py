"""Train the model of a run, validate it as it learns, and test it."""

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from experiments.harness.run import Run
from experiments.models.families import family_model, training_flops
from keras_griffin.models import LanguageModel
from keras_griffin.tasks import TaskBatch
from keras_griffin.training import (
    AdamW,
    ResumableRun,
    default_optimizer,
    warm_up_then_constant,
    warm_up_then_cosine,
)

#: A function of a run, a number of rows and a seed.
MakeBatch = Callable[[Run, int, int], TaskBatch]
#: A function of a run and its model.
MakeOptimizer = Callable[[Run, LanguageModel], AdamW]
#: A function of a run.
MakeModel = Callable[[Run], LanguageModel]
#: A setting, a metric and a value, which a trained model has there.
Test = tuple[str, str, float]
#: Steps in which the learning rate rises.
WARM_UP = 100
#: The schedule of `falling_rate` and `falling_rate_with_decay`.
TO_ZERO = "cosine to zero"
#: Steps between two saves: what `kill -9` can cost.
SAVE_EVERY = 100
#: Seeds of rows. Training has those of the steps, from (1 + seed) times this; the others are the same in all runs.
TRAINING, VALIDATION, TESTING = 10**9, 10**6, 2 * 10**6


class Measurement(NamedTuple):
    """A number that a run gives at a step, in the setting in which it trains or in another."""

    setting: str
    step: int
    metric: str
    value: float


class Score(NamedTuple):
    """How a model answers rows of a task."""

    #: Nats per answer.
    loss: float
    #: Shares of right answers, and of rows without a wrong one.
    token_accuracy: float
    row_accuracy: float


def constant_rate(run: Run, model: LanguageModel) -> AdamW:
    """The optimizer of the synthetic tasks, that of Mamba's authors: Adam, a warm-up, then a constant rate."""
    return AdamW(warm_up_then_constant(run.learning_rate, WARM_UP), weight_decay=0.0, beta_2=0.99, global_clipnorm=1.0)


def cosine_rate(run: Run, model: LanguageModel) -> AdamW:
    """The optimizer of texts: AdamW with a cosine of the learning rate."""
    return default_optimizer(model, run.learning_rate, steps=run.steps, beta_2=0.99)


def falling_rate(run: Run, model: LanguageModel) -> AdamW:
    """Adam with a warm-up, then a cosine of the rate to zero at the end of a fixed number of steps."""
    warm_up = min(WARM_UP, run.steps // 2) / run.steps
    rate = warm_up_then_cosine(run.learning_rate, run.steps, warm_up=warm_up, final=0.0)
    return AdamW(rate, weight_decay=0.0, beta_2=0.99, global_clipnorm=1.0)


def falling_rate_with_decay(run: Run, model: LanguageModel) -> AdamW:
    """The same for texts, with weight decay."""
    return default_optimizer(model, run.learning_rate, steps=run.steps, beta_2=0.99, final=0.0)


def train(
    run: Run,
    folder: Path,
    make_batch: MakeBatch,
    test: Callable[[Run, LanguageModel], Iterable[Test]],
    optimizer: MakeOptimizer = constant_rate,
    make_model: MakeModel = family_model,
) -> list[Measurement]:
    """Train a model, or resume its training, and measure it.

    Args:
        run: its description.
        folder: for the files from which it can resume; they are removed at its end.
        make_batch: of the experiment.
        test: of the experiment: what to measure in the trained model.
        optimizer: of the experiment.
        make_model: of the experiment.

    Returns:
        The measurements: the model's size, the validations, the tests, the steps and the seconds.
    """
    model = build(run, optimizer, make_model)
    validation = Validation(run, list(batches(run, make_batch, run.validation_rows, VALIDATION)))
    course = ResumableRun(folder, save_every=SAVE_EVERY, keep=1)
    course.fit(
        model,
        TaskData(run, make_batch),
        epochs=-(-run.steps // run.validate_every),
        callbacks=[validation],
        verbose=0,
    )
    seconds = course.seconds
    flops = training_flops(model.config, make_batch(run, 1, 0).token_ids.shape[1])
    last = validation.rows[-1][0]
    measured = [
        Measurement(run.setting, 0, "parameters", model.count_params()),
        Measurement(run.setting, 0, "flops_per_token", flops),
        *(Measurement(run.setting, *row) for row in validation.rows),
        *(Measurement(setting, last, metric, value) for setting, metric, value in test(run, model)),
        Measurement(run.setting, last, "seconds", seconds),
    ]
    course.remove()
    return measured


def build(run: Run, optimizer: MakeOptimizer = constant_rate, make_model: MakeModel = family_model) -> LanguageModel:
    """The compiled model of a run."""
    keras.utils.clear_session()
    # The generator from which Keras draws the seeds of initialisers.
    random.seed(run.seed)
    model = make_model(run)
    model.compile(optimizer(run, model), model.loss, jit_compile=jit_compile(run))
    return model


def jit_compile(run: Run) -> bool:
    """Whether to compile a run's programs with XLA: on TensorFlow not for a few steps, which take less time without."""
    return keras.backend.backend() in ("jax", *(() if run.scale == "smoke" else ("tensorflow",)))


class TaskData(keras.utils.PyDataset):
    """Batches of a task, new rows in every step; an epoch lasts until the next validation.

    A batch depends only on the run's seed, the epoch and its index there.

    Args:
        run: its description.
        make_batch: of the experiment.
    """

    def __init__(self, run: Run, make_batch: MakeBatch):
        super().__init__()
        self.epoch = 0
        self._run, self._make_batch = run, make_batch

    @property
    def num_batches(self):
        """Batches in an epoch."""
        return self._run.validate_every

    def on_epoch_end(self):
        """Advance to the next epoch."""
        self.epoch += 1

    def __getitem__(self, index):
        step = self.epoch * self.num_batches + index
        return tuple(self._make_batch(self._run, self._run.batch_size, (1 + self._run.seed) * TRAINING + step))


class Validation(keras.callbacks.Callback):
    """Scores the model after each epoch, and stops the training when the task is solved.

    Args:
        run: its description.
        batches: of the task.

    Attributes:
        rows: the step, the metric and the value of each measurement so far.
    """

    #: What `ResumableRun` saves with the model.
    saved_attributes = ("rows", "streak")

    def __init__(self, run: Run, batches: list[TaskBatch]):
        super().__init__()
        self.rows: list[list] = []
        self.streak = 0
        self._run, self._batches = run, batches

    def on_epoch_end(self, epoch, logs=None):
        """Score the model."""
        found = score(self.model, self._batches)
        step = (epoch + 1) * self._run.validate_every
        self.rows += [[step, metric, value] for metric, value in found._asdict().items()]
        self.streak = self.streak + 1 if found.row_accuracy >= self._run.solved else 0
        if self.streak == 2:
            self.model.stop_training = True


def batches(run: Run, make_batch: MakeBatch, rows: int, seed: int) -> Iterator[TaskBatch]:
    """At least so many rows in batches of the run's size, so that a model needs no other program for them."""
    for number in range(max(1, -(-rows // run.batch_size))):
        yield make_batch(run, run.batch_size, seed + number)


def answers(model: keras.Model, batches: Iterable[TaskBatch]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each batch the logits `(B, T, V)`, the targets `(B, T)`, and where they are due `(B, T)`."""
    for token_ids, targets, weights in batches:
        yield model.predict_on_batch(token_ids), targets, weights > 0


def score(model: keras.Model, batches: Iterable[TaskBatch]) -> Score:
    """The loss and the accuracies over the answers that are due."""
    losses, hits, rows = [], [], []
    for logits, targets, due in answers(model, batches):
        right = logits.argmax(axis=-1) == targets
        hits.append(right[due])
        rows.append((right | ~due).all(axis=1))
        losses.append(cross_entropy(logits[due], targets[due]))
    return Score(*(float(np.concatenate(parts).mean()) for parts in (losses, hits, rows)))


def nats_of_rows(model: keras.Model, batches: Iterable[TaskBatch]) -> np.ndarray:
    """The mean nats of each row's answers that are due: `(rows,)`."""
    found = []
    for logits, targets, due in answers(model, batches):
        nats = np.zeros(due.shape)
        nats[due] = cross_entropy(logits[due], targets[due])
        found.append(nats.sum(axis=1) / due.sum(axis=1))
    return np.concatenate(found)


def rows_right(model: keras.Model, batches: Iterable[TaskBatch]) -> np.ndarray:
    """Whether all answers of a row that are due are right: `(rows,)` bool."""
    return np.concatenate(
        [((logits.argmax(axis=-1) == targets) | ~due).all(axis=1) for logits, targets, due in answers(model, batches)]
    )


def last_token_accuracy(model: LanguageModel, batches: Iterable[TaskBatch]) -> float:
    """The accuracy of the answer that follows a whole row, which is read with memory that does not grow with it."""
    right = [model.generate(batch.token_ids, 1)[:, -1] == batch.targets[:, -1] for batch in batches]
    return float(np.concatenate(right).mean())


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """-log p of each target: `(..., V)` and `(...,)` integers to `(...,)` float64."""
    logits = logits.astype("float64")
    most = logits.max(axis=-1)
    total = most + np.log(np.exp(logits - most[..., None]).sum(axis=-1))
    return total - np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
