"""The calls on which `block_product` is tested and timed."""

from dataclasses import dataclass

from keras_griffin.ops.block_product import block_product, reference
from keras_griffin.ops.case import Case, Functions


@dataclass(frozen=True)
class BlockCase(Case):
    """One call of `block_product`: rows `(n, G width)` by `G` matrices `(width, units)`."""

    functions = Functions(block_product, reference.block_product, reference.block_product_gradient)
    rows: int
    blocks: int
    width: int
    units: int
    has_bias: bool = False
    dtype: str = "float32"

    @property
    def shape(self):
        return self.rows, self.blocks * self.width

    def arguments(self):
        shapes = self.shape, (self.blocks, self.width, self.units), (self.blocks, self.units)
        return self.normal_arguments(*shapes[: 2 + self.has_bias])


CASES = tuple(
    BlockCase(*sizes, has_bias=has_bias, dtype=dtype)
    for sizes in [(0, 2, 3, 4), (1, 1, 1, 1), (1, 3, 5, 2), (64, 1, 7, 5), (65, 4, 3, 3), (130, 2, 16, 33)]
    for has_bias in (False, True)
    for dtype in ("float32", "bfloat16")
)


def timed(device: str) -> tuple[BlockCase, ...]:
    """A gate of 16 blocks: of a small model, and at the sizes of `linear_scan`'s first calls."""
    sizes = [
        (2048, 16, 5, 5),
        (8 * 512, 16, 48, 48),
        (2048, 16, 160, 160),
        *([] if device == "cpu" else [(8 * 4096, 16, 256, 256)]),
    ]
    return tuple(BlockCase(*size, has_bias=True) for size in sizes)
