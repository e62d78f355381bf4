"""One call of a scan along time: its sizes and marks, and the sizes at which it is timed."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from keras_griffin.ops.case import Argument, Case, rounded


@dataclass(frozen=True)
class RecurrenceCase(Case):
    """One call of a scan of `(B, T, D)`; some steps forget the past, and some are masked and hold NaN."""

    length: int
    batch_size: int = 1
    width: int = 5
    dtype: str = "float32"
    has_reset: bool = False
    has_mask: bool = False
    has_initial_state: bool = True
    moved: ClassVar[tuple[int, int] | None] = (3, 8)

    @property
    def shape(self):
        return self.batch_size, self.length, self.width

    @property
    def options(self):
        draws = np.random.default_rng(1).random((2, *self.shape[:2]))
        reset, mask = draws[0] < 0.2, draws[1] < 0.7
        return {"reset": reset if self.has_reset else None, "mask": mask if self.has_mask else None}

    @property
    def result_dtypes(self):
        return [self.dtype, self.accumulation_dtype]

    def sequence(self, array: np.ndarray) -> Argument:
        """An argument with a value at each step: NaN where the step is masked."""
        values, mask = rounded(array, self.dtype), self.options["mask"]
        if mask is not None:
            values[~mask] = np.nan
        return Argument(values, self.dtype)

    @classmethod
    def timed(cls, device: str) -> tuple[Self, ...]:
        """A small model's training batch first, then a long row, and on accelerators a size that fills them."""
        shapes = [(8, 512, 768), (1, 2048, 2560), *([] if device == "cpu" else [(8, 4096, 4096)])]
        return tuple(
            cls(length, batch_size, width, dtype=dtype, has_initial_state=False)
            for batch_size, length, width in shapes
            for dtype in ("float32", "bfloat16")
        )
