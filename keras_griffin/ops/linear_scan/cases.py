"""The calls on which `linear_scan` is tested and timed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keras_griffin.ops.case import Argument, Case, described, parts, rounded, whole
from keras_griffin.ops.linear_scan import linear_scan, reference
from keras_griffin.ops.recurrence.numbers import components_of, number_of


@dataclass(frozen=True)
class ScanCase(Case):
    """One call of `linear_scan`.

    Args:
        length: T.
        batch_size: B.
        width: D.
        is_complex: decay, inputs and states are complex.
        dtype: of decay and inputs.
        reverse: the call's `reverse`.
        has_reset: some steps forget the past.
        has_mask: some steps are masked and hold NaN.
        has_initial_state: whether the initial state is given.
    """

    length: int
    batch_size: int = 1
    width: int = 5
    is_complex: bool = False
    dtype: str = "float32"
    reverse: bool = False
    has_reset: bool = False
    has_mask: bool = False
    has_initial_state: bool = True
    moved: ClassVar[tuple[int, int]] = (3, 8)

    def __str__(self) -> str:
        features = described(
            complex=self.is_complex,
            reverse=self.reverse,
            reset=self.has_reset,
            mask=self.has_mask,
            from_zeros=not self.has_initial_state,
        )
        return "-".join([f"B{self.batch_size}", f"T{self.length}", f"D{self.width}", self.dtype, *features])

    @property
    def shape(self):
        """Of the inputs."""
        return self.batch_size, self.length, self.width

    @property
    def options(self):
        """The op's other arguments: marks and direction."""
        generator = np.random.default_rng(1)
        draws = generator.random((2, *self.shape[:2]))
        return {
            "reset": draws[0] < 0.2 if self.has_reset else None,
            "mask": draws[1] < 0.7 if self.has_mask else None,
            "reverse": self.reverse,
        }

    @property
    def result_dtypes(self):
        """States in the inputs' dtype, the final state in the accumulation dtype."""
        count = 1 + self.is_complex
        return [self.dtype] * count + [self.accumulation_dtype] * count

    def arguments(self):
        """Decay, inputs, and the initial state if there is one."""
        generator = np.random.default_rng(0)
        decay = generator.uniform(0.5, 1.0, self.shape)
        if self.is_complex:
            decay = decay * np.exp(1j * generator.uniform(-np.pi, np.pi, self.shape))
        inputs, start = self.normal(generator, self.shape), self.normal(generator, self.start_shape)
        arguments = [*self.sequence(decay), *self.sequence(inputs)]
        return arguments + (self.components(start, self.accumulation_dtype) if self.has_initial_state else [])

    @property
    def start_shape(self):
        """Of the initial state."""
        return self.batch_size, self.width

    def normal(self, generator, shape):
        """A number of normal components."""
        real, imaginary = generator.normal(size=(2, *shape))
        return real + 1j * imaginary if self.is_complex else real

    def sequence(self, number):
        """The components of a number at every step: NaN where the step is masked."""
        arguments, mask = self.components(number, self.dtype), self.options["mask"]
        for argument in arguments:
            if mask is not None:
                argument.values[~mask] = np.nan
        return arguments

    def components(self, number, dtype):
        """A number as arguments."""
        return [Argument(rounded(part, self.dtype), dtype) for part in parts(number)]

    def call(self, *tensors):
        """States, and final state."""
        numbers = (number_of(tuple(components)) for components in self._split(tensors))
        return [part for result in linear_scan(*numbers, **self.options) for part in components_of(result)]

    def definition(self, *arrays):
        """States, and final state."""
        results = reference.definition(*map(whole, self._split(arrays)), **self.options)
        return [part for result in results for part in parts(result)]

    def gradients(self, weights, *arrays):
        """For decay, inputs and initial state."""
        decay, inputs, *start = map(whole, self._split(arrays))
        weights = map(whole, self._split(weights))
        gradients = reference.linear_scan_gradient(decay, inputs, start[0] if start else None, *weights, **self.options)
        return [part for number in gradients[: 2 + len(start)] for part in parts(number)]

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


def timed(device: str) -> tuple[ScanCase, ...]:
    """A small model's training batch first, then a long row, and on accelerators a size that fills them."""
    shapes = [(8, 512, 768), (1, 2048, 2560), *([] if device == "cpu" else [(8, 4096, 4096)])]
    return tuple(
        ScanCase(length, batch_size, width, dtype=dtype, has_initial_state=False)
        for batch_size, length, width in shapes
        for dtype in ("float32", "bfloat16")
    )
