"""The calls on which `row_product` is tested and timed."""

from dataclasses import dataclass

import numpy as np

from keras_griffin.ops.case import Argument, Case, rounded
from keras_griffin.ops.row_product import reference, row_product


@dataclass(frozen=True)
class RowCase(Case):
    """One call of `row_product`.

    Args:
        rows: n.
        width: D.
        units: U.
        dtype: of all.
        has_bias: whether there is b.
    """

    rows: int
    width: int
    units: int
    dtype: str = "float32"
    has_bias: bool = True

    def __str__(self) -> str:
        return f"n{self.rows}-{self.width}x{self.units}{'-bias' * self.has_bias}-{self.dtype}"

    @property
    def shape(self):
        """Of the rows."""
        return self.rows, self.width

    def arguments(self):
        """Rows, matrix and bias."""
        shapes = [self.shape, (self.width, self.units), (self.units,)][: 2 + self.has_bias]
        generator = np.random.default_rng(0)
        arrays = [generator.normal(size=shape) for shape in shapes]
        return [Argument(rounded(array, self.dtype), self.dtype) for array in arrays]

    def call(self, *tensors):
        """The outputs."""
        return [row_product(*tensors)]

    def definition(self, *arrays):
        """The outputs."""
        return [reference.row_product(*arrays)]

    def gradients(self, weights, *arrays):
        """For every argument."""
        return list(reference.row_product_gradient(*weights, *arrays))


CASES = tuple(
    RowCase(*sizes, dtype, has_bias=sizes[0] != 2)
    for sizes in [(1, 7, 5), (2, 7, 5), (3, 65, 130), (0, 7, 5), (1, 1, 1), (64, 16, 33), (65, 16, 3)]
    for dtype in ("float32", "bfloat16")
)


def timed(device: str) -> tuple[RowCase, ...]:
    """Decoding steps of 1 row and of 16, in RecurrentGemma-2B's MLP, on every device."""
    return tuple(RowCase(rows, 2560, 7680, dtype) for rows in (1, 16) for dtype in ("float32", "bfloat16"))
