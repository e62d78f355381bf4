"""The calls on which `block_product` is tested and timed."""

from dataclasses import dataclass

import numpy as np

from keras_griffin.ops.block_product import block_product, reference
from keras_griffin.ops.case import Argument, Case, described, rounded


@dataclass(frozen=True)
class BlockCase(Case):
    """One call of `block_product`.

    Args:
        rows: n.
        blocks: G.
        width: input channels of a block.
        units: output channels of a block.
        has_bias: whether there is a bias.
        dtype: of all tensors.
    """

    rows: int
    blocks: int
    width: int
    units: int
    has_bias: bool = False
    dtype: str = "float32"

    def __str__(self) -> str:
        sizes = f"n{self.rows}-{self.blocks}x{self.width}x{self.units}"
        return "-".join([sizes, self.dtype, *described(bias=self.has_bias)])

    @property
    def shape(self):
        """Of the inputs."""
        return self.rows, self.blocks * self.width

    def arguments(self):
        """Inputs, kernel, and the bias where there is one."""
        shapes = [self.shape, (self.blocks, self.width, self.units), (self.blocks, self.units)]
        generator = np.random.default_rng(0)
        arrays = [rounded(generator.normal(size=shape), self.dtype) for shape in shapes[: 2 + self.has_bias]]
        return [Argument(array, self.dtype) for array in arrays]

    def call(self, *tensors):
        """The outputs."""
        return [block_product(*tensors)]

    def definition(self, *arrays):
        """The outputs."""
        return [reference.block_product(*arrays, *([] if self.has_bias else [None]))]

    def gradients(self, weights, *arrays):
        """For inputs, kernel and bias."""
        return list(reference.block_product_gradient(*weights, *arrays[:2])[: len(arrays)])


CASES = tuple(
    BlockCase(*sizes, has_bias=has_bias, dtype=dtype)
    for sizes in [(0, 2, 3, 4), (1, 1, 1, 1), (1, 3, 5, 2), (64, 1, 7, 5), (65, 4, 3, 3), (130, 2, 16, 33)]
    for has_bias in (False, True)
    for dtype in ("float32", "bfloat16")
)


def timed(device: str) -> tuple[BlockCase, ...]:
    """A gate of 16 blocks, at the sizes of `linear_scan`'s first calls."""
    sizes = [(8 * 512, 16, 48, 48), (2048, 16, 160, 160), *([] if device == "cpu" else [(8 * 4096, 16, 256, 256)])]
    return tuple(BlockCase(*size, has_bias=True) for size in sizes)
