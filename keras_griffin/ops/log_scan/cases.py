"""The calls on which `log_scan` is tested and timed."""

from dataclasses import dataclass

import numpy as np

from keras_griffin.ops.case import Argument, Functions, rounded
from keras_griffin.ops.log_scan import log_scan, reference
from keras_griffin.ops.recurrence.case import RecurrenceCase


@dataclass(frozen=True)
class LogCase(RecurrenceCase):
    """One call of `log_scan`: inputs of a standard deviation of `scale`, and decays from `-strongest` to 0."""

    functions = Functions(log_scan, reference.definition, reference.log_scan_gradient)
    scale: float = 1.0
    strongest: float = 1.0

    def arguments(self):
        generator = np.random.default_rng(0)
        decay = -self.strongest * generator.random(self.shape)
        inputs = self.scale * generator.normal(size=self.shape)
        start = self.scale * generator.normal(size=(self.batch_size, self.width))
        first = [Argument(rounded(start, self.dtype), self.accumulation_dtype)]
        return [self.sequence(decay), self.sequence(inputs), *first * self.has_initial_state]

    def gradients(self, weights, *arrays):
        decay, inputs, *start = arrays
        found = reference.log_scan_gradient(decay, inputs, *(start or [None]), *weights, **self.options)
        return list(found[: len(arrays)])


#: With keys of 1e4 few states are between two of them: there no float32 has a precise derivative.
CASES = (
    *(LogCase(length, batch_size) for length, batch_size in [(0, 1), (1, 3), (2, 1), (65, 3)]),
    LogCase(65, 3, has_initial_state=False),
    LogCase(65, 3, has_reset=True, has_mask=True),
    LogCase(5, 3, strongest=100.0, has_mask=True),
    LogCase(5, scale=1e4, has_reset=True),
    LogCase(5, 3, dtype="bfloat16", has_initial_state=False),
    # A single number at each step, no rows, and no channels.
    LogCase(33, 1, 1),
    LogCase(3, 0, 4, has_reset=True, has_mask=True),
    LogCase(3, 2, 0),
    LogCase(5, 3, dtype="float64", has_reset=True, has_mask=True),
)
timed = LogCase.timed
