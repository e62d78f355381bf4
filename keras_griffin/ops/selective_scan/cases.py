"""The calls on which `selective_scan` is tested and timed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keras_griffin.ops.case import Argument, Case, rounded
from keras_griffin.ops.selective_scan import reference, selective_scan
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs


@dataclass(frozen=True)
class SelectiveCase(Case):
    """One call of `selective_scan`; masked steps hold NaN."""

    length: int  # T
    batch_size: int = 2  # B
    width: int = 5  # D
    numbers: int = 3  # N
    dtype: str = "float32"  # of all sequences
    has_reset: bool = False
    has_mask: bool = False
    has_initial_state: bool = True
    moved: ClassVar[tuple[int, int]] = (3, 8)

    @property
    def shape(self):
        """Of the inputs."""
        return self.batch_size, self.length, self.width

    @property
    def options(self):
        """The op's other arguments: the marks."""
        draws = np.random.default_rng(1).random((2, *self.shape[:2]))
        reset, mask = draws[0] < 0.2, draws[1] < 0.7
        return {"reset": reset if self.has_reset else None, "mask": mask if self.has_mask else None}

    @property
    def result_dtypes(self):
        """Outputs in the inputs' dtype, the final state in the accumulation dtype."""
        return [self.dtype, self.accumulation_dtype]

    def arguments(self):
        """u, s, A, b, c, and the initial state if there is one."""
        generator = np.random.default_rng(0)
        steps = self.shape[:2]
        inputs, sizes = generator.normal(size=self.shape), generator.uniform(0.05, 0.5, self.shape)
        rates = -generator.uniform(0.1, 2.0, (self.width, self.numbers))
        weights = generator.normal(size=(2, *steps, self.numbers))
        start = generator.normal(size=(self.batch_size, self.width, self.numbers))
        u, s, b, c = map(self._sequence, (inputs, sizes, *weights))
        # At least float32, whatever the dtype of u.
        others = [Argument(rounded(x, "float32"), self.accumulation_dtype) for x in (rates, start)]
        return [u, s, others[0], b, c, *(others[1:] if self.has_initial_state else [])]

    def _sequence(self, array):
        """An argument, NaN where the step is masked."""
        values, mask = rounded(array, self.dtype), self.options["mask"]
        if mask is not None:
            values[~mask] = np.nan
        return Argument(values, self.dtype)

    def call(self, *tensors):
        """Outputs and final state."""
        return list(selective_scan(*tensors, **self.options))

    def definition(self, *arrays):
        """Outputs and final state."""
        return list(reference.definition(SelectiveScanInputs(*arrays[:5]), *arrays[5:], **self.options))

    def gradients(self, weights, *arrays):
        """For every argument."""
        start = arrays[5] if self.has_initial_state else None
        into, into_start = reference.selective_scan_gradient(
            SelectiveScanInputs(*arrays[:5]), start, weights, **self.options
        )
        return [*into, *([into_start] if self.has_initial_state else [])]


#: Few are long, since JAX compiles for each.
CASES = (
    *(SelectiveCase(length) for length in (0, 1, 2)),
    SelectiveCase(65, has_reset=True, has_mask=True),
    SelectiveCase(65, 1, width=3, numbers=1, has_initial_state=False),
    SelectiveCase(5, has_reset=True),
    SelectiveCase(5, dtype="bfloat16", has_mask=True),
    # A single number at each step, no rows, and no channels.
    SelectiveCase(33, 1, 1, 1),
    SelectiveCase(3, 0, 4, has_reset=True, has_mask=True),
    SelectiveCase(3, 2, 0),
    SelectiveCase(5, dtype="float64", has_reset=True, has_mask=True),
)


def timed(device: str) -> tuple[SelectiveCase, ...]:
    """A small model's training batch first, then a long row, and on accelerators a size that fills them."""
    shapes = [(2, 1024, 512), (1, 4096, 1536), *([] if device == "cpu" else [(8, 4096, 1536)])]
    return tuple(
        SelectiveCase(length, batch_size, width, 16, dtype, has_initial_state=False)
        for batch_size, length, width in shapes
        for dtype in ("float32", "bfloat16")
    )
