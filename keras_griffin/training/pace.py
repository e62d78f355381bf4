"""How fast a model trains on this machine, and how many steps fit into a given time."""

import time
from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Pace:
    """The training time of a compiled model, in seconds: compilation, one step, one pass over the validation data."""

    start: float
    step: float
    validation: float

    def steps_within(self, seconds: float, epochs: int) -> int:
        """The training steps that fit into the time, with a validation after each epoch; at least one per epoch."""
        for_steps = seconds - self.start - epochs * self.validation
        return max(int(for_steps / self.step), epochs)


def measure_pace(
    model: keras.Model, training_data: keras.utils.PyDataset, validation_data: keras.utils.PyDataset
) -> Pace:
    """Time a compiled model on all batches of two datasets; a learning rate of zero leaves its weights unchanged."""
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

    #: The attributes that `ResumableRun` saves.
    saved_attributes = ("steps", "seconds", "first_step")

    def __init__(self):
        super().__init__()
        self.steps = 0
        self.seconds = 0.0
        self.first_step = 0.0
        self._has_compiled = False
        self._previous = 0.0

    @property
    def seconds_per_step(self) -> float:
        """The mean over all steps except the first of each process, which compiles."""
        return self.seconds / self.steps if self.steps else self.first_step

    def on_epoch_begin(self, epoch, logs=None):
        """Exclude the time before the epoch."""
        self._previous = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Count a step, including the wait for its data."""
        now = time.perf_counter()
        if self._has_compiled:
            self.steps += 1
            self.seconds += now - self._previous
        else:
            self._has_compiled = True
            self.first_step = now - self._previous
        self._previous = now
