"""The calls on which `log_scan` is tested and timed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keras_griffin.ops.case import Argument, Case, described, rounded
from keras_griffin.ops.log_scan import log_scan, reference


@dataclass(frozen=True)
class LogCase(Case):
    """One call of `log_scan`.

    Args:
        length: T.
        batch_size: B.
        width: D.
        dtype: of log_decay and inputs.
        scale: the standard deviation of the inputs.
        strongest: every step takes up to so much away from the state.
        has_reset: some steps forget the past.
        has_mask: some steps are masked and hold NaN.
        has_initial_state: whether the initial state is given.
    """

    length: int
    batch_size: int = 1
    width: int = 5
    dtype: str = "float32"
    scale: float = 1.0
    strongest: float = 1.0
    has_reset: bool = False
    has_mask: bool = False
    has_initial_state: bool = True
    moved: ClassVar[tuple[int, int]] = (3, 8)

    def __str__(self) -> str:
        features = described(reset=self.has_reset, mask=self.has_mask, from_nothing=not self.has_initial_state)
        sizes = [f"B{self.batch_size}", f"T{self.length}", f"D{self.width}", self.dtype]
        sizes += [f"x{self.scale:.0e}"] if self.scale != 1.0 else []
        return "-".join([*sizes, *([f"d{self.strongest:.0e}"] if self.strongest != 1.0 else []), *features])

    @property
    def shape(self):
        """Of the inputs."""
        return self.batch_size, self.length, self.width

    @property
    def options(self):
        """The op's marks."""
        draws = np.random.default_rng(1).random((2, *self.shape[:2]))
        return {
            "reset": draws[0] < 0.2 if self.has_reset else None,
            "mask": draws[1] < 0.7 if self.has_mask else None,
        }

    @property
    def result_dtypes(self):
        """States in the inputs' dtype, the final state in the accumulation dtype."""
        return [self.dtype, self.accumulation_dtype]

    def arguments(self):
        """Logarithms of decays, inputs, and the initial state if there is one; NaN where a step is masked."""
        generator, mask = np.random.default_rng(0), self.options["mask"]
        decay = -self.strongest * generator.random(self.shape)
        inputs = self.scale * generator.normal(size=self.shape)
        start = self.scale * generator.normal(size=(self.batch_size, self.width))
        arguments = [Argument(rounded(x, self.dtype), self.dtype) for x in (decay, inputs)]
        for argument in arguments:
            if mask is not None:
                argument.values[~mask] = np.nan
        return arguments + self.has_initial_state * [Argument(rounded(start, self.dtype), self.accumulation_dtype)]

    def call(self, *tensors):
        """States, and final state."""
        return list(log_scan(*tensors, **self.options))

    def definition(self, *arrays):
        """States, and final state."""
        return list(reference.definition(*arrays, **self.options))

    def gradients(self, weights, *arrays):
        """For log_decay, inputs and initial state."""
        decay, inputs, *start = arrays
        first = start[0] if start else None
        gradients = reference.log_scan_gradient(decay, inputs, first, *weights, **self.options)
        return list(gradients[: 2 + len(start)])


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


def timed(device: str) -> tuple[LogCase, ...]:
    """A small model's training batch first, then a long row, and on accelerators a size that fills them."""
    shapes = [(8, 512, 768), (1, 2048, 2560), *([] if device == "cpu" else [(8, 4096, 4096)])]
    return tuple(
        LogCase(length, batch_size, width, dtype=dtype, has_initial_state=False)
        for batch_size, length, width in shapes
        for dtype in ("float32", "bfloat16")
    )
