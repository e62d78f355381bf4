"""How fast a model trains here, and how many steps a time allows."""

import time
from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Pace:
    """What a compiled model's training costs, in seconds.

    Args:
        start: compilation, once.
        step: one training step.
        validation: one pass over the validation data.
    """

    start: float
    step: float
    validation: float

    def steps_within(self, seconds: float, epochs: int) -> int:
        """The training steps that fit into the time with a validation after each epoch; at least one an epoch."""
        for_steps = seconds - self.start - epochs * self.validation
        return max(int(for_steps / self.step), epochs)


def measure_pace(
    model: keras.Model, training_data: keras.utils.PyDataset, validation_data: keras.utils.PyDataset
) -> Pace:
    """Train a compiled model for a few steps to learn how long they take.

    Compile it with a learning rate of zero, and its weights stay as they are.

    Args:
        model: compiled.
        training_data: a dataset of as many batches as are to be timed.
        validation_data: the dataset on which it will be validated.
    """
    moments = [time.perf_counter()]
    model.fit(training_data, steps_per_epoch=1, validation_data=validation_data, verbose=0)
    moments.append(time.perf_counter())
    model.fit(training_data, verbose=0)
    moments.append(time.perf_counter())
    model.evaluate(validation_data, verbose=0)
    moments.append(time.perf_counter())
    first, steps, validation = (later - earlier for earlier, later in zip(moments, moments[1:], strict=False))
    step = steps / training_data.num_batches
    return Pace(start=max(first - step - validation, 0.0), step=step, validation=validation)


class Stopwatch(keras.callbacks.Callback):
    """Time the training steps of a `fit`, without compilation and validation."""

    #: What `ResumableRun` keeps of it.
    kept = ("steps", "seconds", "first_step")

    def __init__(self):
        super().__init__()
        self.steps = 0
        self.seconds = 0.0
        self.first_step = 0.0
        self._has_compiled = False
        self._previous = 0.0

    @property
    def seconds_per_step(self) -> float:
        """The mean over all steps but the first of each process, which compiles."""
        return self.seconds / self.steps if self.steps else self.first_step

    def on_epoch_begin(self, epoch, logs=None):
        """Leave out what came before the epoch."""
        self._previous = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Count a step with the wait for its data."""
        now = time.perf_counter()
        if self._has_compiled:
            self.steps += 1
            self.seconds += now - self._previous
        else:
            self._has_compiled = True
            self.first_step = now - self._previous
        self._previous = now
