"""The calls on which `linear_scan` is tested and timed."""

from dataclasses import dataclass

import numpy as np

from keras_griffin.ops.case import Argument, parts, rounded, whole
from keras_griffin.ops.linear_scan import linear_scan, reference
from keras_griffin.ops.recurrence.case import RecurrenceCase
from keras_griffin.ops.recurrence.numbers import components_of, number_of


@dataclass(frozen=True)
class ScanCase(RecurrenceCase):
    """One call of `linear_scan`, real or complex."""

    is_complex: bool = False
    reverse: bool = False

    @property
    def options(self):
        return {**super().options, "reverse": self.reverse}

    @property
    def result_dtypes(self):
        count = 1 + self.is_complex
        return [self.dtype] * count + [self.accumulation_dtype] * count

    def arguments(self):
        generator = np.random.default_rng(0)
        decay = generator.uniform(0.5, 1.0, self.shape)
        if self.is_complex:
            decay = decay * np.exp(1j * generator.uniform(-np.pi, np.pi, self.shape))
        inputs, start = self.normal(generator, self.shape), self.normal(generator, self.start_shape)
        arguments = [*self.sequence(decay), *self.sequence(inputs)]
        return arguments + (self.components(start, self.accumulation_dtype) if self.has_initial_state else [])

    @property
    def start_shape(self):
        """The shape of the initial state."""
        return self.batch_size, self.width

    def normal(self, generator, shape):
        """A number of normal components."""
        real, imaginary = generator.normal(size=(2, *shape))
        return real + 1j * imaginary if self.is_complex else real

    def sequence(self, number):
        """The components of a number at every step."""
        return [super(ScanCase, self).sequence(part) for part in parts(number)]

    def components(self, number, dtype):
        """A number as arguments."""
        return [Argument(rounded(part, self.dtype), dtype) for part in parts(number)]

    def call(self, *tensors):
        numbers = (number_of(tuple(components)) for components in self._split(tensors))
        return [part for result in linear_scan(*numbers, **self.options) for part in components_of(result)]

    def definition(self, *arrays):
        results = reference.definition(*map(whole, self._split(arrays)), **self.options)
        return [part for result in results for part in parts(result)]

    def gradients(self, weights, *arrays):
        decay, inputs, *start = map(whole, self._split(arrays))
        weights = map(whole, self._split(weights))
        first = start[0] if start else None
        found = reference.linear_scan_gradient(decay, inputs, first, *weights, **self.options)
        return [part for number in found[: 2 + len(start)] for part in parts(number)]

    def _split(self, arrays):
        """The components of each number."""
        count = 1 + self.is_complex
        return [arrays[i : i + count] for i in range(0, len(arrays), count)]


#: Few are long, since JAX compiles for each.
CASES = (
    *(ScanCase(length, batch_size) for length, batch_size in [(0, 1), (1, 3), (2, 1), (63, 3), (64, 1), (65, 3)]),
    ScanCase(1000),
    ScanCase(65, 3, reverse=True),
    ScanCase(5, 3, has_reset=True),
    ScanCase(5, 3, has_mask=True),
    ScanCase(5, 3, dtype="bfloat16", has_initial_state=False),
    ScanCase(5, 3, dtype="float64", reverse=True),
    ScanCase(2, 3, is_complex=True),
    ScanCase(65, 3, is_complex=True),
    ScanCase(5, 3, is_complex=True, dtype="bfloat16", reverse=True),
    ScanCase(5, 3, is_complex=True, dtype="float64"),
    # A single number at each step, no rows, and no channels.
    ScanCase(33, 1, 1, is_complex=True),
    ScanCase(3, 0, 4, is_complex=True, has_reset=True, has_mask=True),
    ScanCase(3, 2, 0, is_complex=True),
    ScanCase(65, 3, is_complex=True, reverse=True, has_reset=True, has_mask=True),
)
timed = ScanCase.timed
