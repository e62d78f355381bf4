"""The calls on which `selective_scan` is tested and timed."""

from dataclasses import dataclass

import numpy as np

from keras_griffin.ops.case import Argument, rounded
from keras_griffin.ops.recurrence.case import RecurrenceCase
from keras_griffin.ops.selective_scan import reference, selective_scan
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs


@dataclass(frozen=True)
class SelectiveCase(RecurrenceCase):
    """One call of `selective_scan`."""

    batch_size: int = 2
    numbers: int = 3  # N

    def arguments(self):
        """u, s, A, b, c, and the initial state if there is one."""
        generator = np.random.default_rng(0)
        steps = self.shape[:2]
        inputs, sizes = generator.normal(size=self.shape), generator.uniform(0.05, 0.5, self.shape)
        rates = -generator.uniform(0.1, 2.0, (self.width, self.numbers))
        weights = generator.normal(size=(2, *steps, self.numbers))
        start = generator.normal(size=(self.batch_size, self.width, self.numbers))
        u, s, b, c = map(self.sequence, (inputs, sizes, *weights))
        # At least float32, whatever the dtype of u.
        others = [Argument(rounded(x, "float32"), self.accumulation_dtype) for x in (rates, start)]
        return [u, s, others[0], b, c, *(others[1:] if self.has_initial_state else [])]

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
    SelectiveCase(33, 1, 1, numbers=1),
    SelectiveCase(3, 0, 4, has_reset=True, has_mask=True),
    SelectiveCase(3, 2, 0),
    SelectiveCase(5, dtype="float64", has_reset=True, has_mask=True),
)


def timed(device: str) -> tuple[SelectiveCase, ...]:
    """A small model's training batch first, then a long row, and on accelerators a size that fills them."""
    shapes = [(2, 1024, 512), (1, 4096, 1536), *([] if device == "cpu" else [(8, 4096, 1536)])]
    return tuple(
        SelectiveCase(length, batch_size, width, dtype=dtype, numbers=16, has_initial_state=False)
        for batch_size, length, width in shapes
        for dtype in ("float32", "bfloat16")
    )
