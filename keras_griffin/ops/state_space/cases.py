"""The calls on which `state_space` is tested and timed."""

from dataclasses import dataclass

import numpy as np

from keras_griffin.ops.case import Argument, rounded
from keras_griffin.ops.recurrence.case import RecurrenceCase
from keras_griffin.ops.state_space import reference, state_space
from keras_griffin.ops.state_space.inputs import DenseSystem, DiagonalSystem


@dataclass(frozen=True)
class SystemCase(RecurrenceCase):
    """One call of `state_space`."""

    #: Bound by its products.
    moved = None
    batch_size: int = 2
    width: int = 3
    numbers: int = 4  # N
    is_dense: bool = False

    def arguments(self):
        """u, A, b, c, and the initial state if there is one."""
        generator = np.random.default_rng(0)
        size = (self.width, self.numbers)
        if self.is_dense:
            matrices = generator.normal(size=(*size, self.numbers))
            # Not normal, but stable.
            transition = 0.97 * np.linalg.qr(matrices)[0] if self.width else matrices
        else:
            half = (self.width, self.numbers // 2)
            log_sizes = -np.exp(generator.uniform(-5.0, 0.0, half))
            transition = np.concatenate([log_sizes, generator.uniform(-3.0, 3.0, half)], axis=-1)
        others = [transition, *generator.normal(size=(2, *size)), generator.normal(size=(self.batch_size, *size))]
        # At least float32, whatever the dtype of u.
        others = [Argument(rounded(x, "float32"), self.accumulation_dtype) for x in others]
        inputs = self.sequence(generator.normal(size=self.shape))
        return [inputs, *(others if self.has_initial_state else others[:3])]

    def call(self, *tensors):
        """Outputs and final state."""
        return list(state_space(*tensors, **self.options))

    def definition(self, *arrays):
        """Outputs and final state."""
        inputs, transition, b, c, *start = arrays
        return list(reference.definition(inputs, self._system(b, c, transition), *start, **self.options))

    def gradients(self, weights, *arrays):
        """For every argument."""
        inputs, transition, b, c, *start = arrays
        system, first = self._system(b, c, transition), start[0] if start else None
        into, of_system, into_start = reference.state_space_gradient(inputs, system, first, weights, **self.options)
        return [into, of_system[2], *of_system[:2], *([into_start] if start else [])]

    def _system(self, *arrays):
        return (DenseSystem if self.is_dense else DiagonalSystem)(*arrays)


#: Few are long, since JAX compiles for each.
CASES = (
    *(SystemCase(length) for length in (0, 1, 2)),
    SystemCase(65, has_reset=True, has_mask=True),
    SystemCase(65, has_reset=True, has_mask=True, is_dense=True),
    # Three chunks, and none padded.
    SystemCase(192, 1, numbers=2, has_reset=True, is_dense=True),
    SystemCase(4, 1, has_initial_state=False),
    SystemCase(5, has_reset=True, is_dense=True),
    SystemCase(1, 1, has_reset=True, has_mask=True, is_dense=True),
    SystemCase(5, dtype="bfloat16", has_mask=True),
    # No rows, and no channels.
    SystemCase(3, 0, has_reset=True, has_mask=True),
    SystemCase(3, 2, 0, is_dense=True),
    # A matrix: on JAX, Keras takes cosines in float32.
    SystemCase(5, dtype="float64", has_reset=True, has_mask=True, is_dense=True),
)


def timed(device: str) -> tuple[SystemCase, ...]:
    """A small model's training batch first, then a long row."""
    shapes = [(4, 2048, 256), (1, 4096, 1024)]
    return tuple(
        SystemCase(length, batch_size, width, dtype=dtype, numbers=64, has_initial_state=False, is_dense=is_dense)
        for batch_size, length, width in shapes
        for dtype in ("float32", "bfloat16")
        for is_dense in (False, True)
    )
