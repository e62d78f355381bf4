"""The calls on which `row_product` is tested and timed."""

from dataclasses import dataclass

from keras_griffin.ops.case import Case, Functions
from keras_griffin.ops.row_product import reference, row_product


@dataclass(frozen=True)
class RowCase(Case):
    """One call of `row_product`: rows `(n, D)` by a matrix `(D, U)`."""

    functions = Functions(row_product, reference.row_product, reference.row_product_gradient)
    rows: int
    width: int
    units: int
    dtype: str = "float32"
    has_bias: bool = True

    @property
    def shape(self):
        return self.rows, self.width

    def arguments(self):
        return self.normal_arguments(self.shape, (self.width, self.units), *[(self.units,)] * self.has_bias)


CASES = tuple(
    RowCase(*sizes, dtype, has_bias=sizes[0] != 2)
    for sizes in [(1, 7, 5), (2, 7, 5), (3, 65, 130), (0, 7, 5), (1, 1, 1), (64, 16, 33), (65, 16, 3)]
    for dtype in ("float32", "bfloat16")
)


def timed(device: str) -> tuple[RowCase, ...]:
    """Decoding steps of 1 row and of 16, in RecurrentGemma-2B's MLP, on every device."""
    return tuple(RowCase(rows, 2560, 7680, dtype) for rows in (1, 16) for dtype in ("float32", "bfloat16"))
