"""Y = X W + b, as in a dense layer: the contract, and the table of implementations.

An implementation has the function `row_product(rows, matrix, bias)`, and `supports(facts)` as in `ScanOp`.
"""

import keras
from keras import ops

from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.ops.shared.arguments import as_tensor, check_floating
from keras_griffin.shapes import Tensor

_OP = Op(
    "row_product",
    __name__,
    [
        Implementation("jax_bfloat16", backend="jax", automatic=("cpu",)),
        Implementation("torch_addmm", backend="torch"),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
)


def row_product(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply rows by a matrix and add a bias.

        y_nj = sum_i x_ni w_ij + b_j

    `rows`: (n, D), n possibly unknown; `matrix`: (D, U); `bias`: (U,), or None; all of one float dtype. The result is
    (n, U). Products are summed in at least float32 and rounded once, as far as the backend does so.
    """
    rows, matrix, bias = as_tensor(rows), as_tensor(matrix), as_tensor(bias)
    if len(rows.shape) != 2 or len(matrix.shape) != 2 or rows.shape[1] != matrix.shape[0]:
        raise ValueError(
            "row_product: rows must have shape (n, D) and the matrix (D, U). "
            f"Got {tuple(rows.shape)} and {tuple(matrix.shape)}."
        )
    if bias is not None and tuple(bias.shape) != (matrix.shape[1],):
        raise ValueError(
            f"row_product: bias must have shape {(matrix.shape[1],)} for a matrix {tuple(matrix.shape)}. "
            f"Got {tuple(bias.shape)}."
        )
    check_floating("row_product", rows=rows, matrix=matrix, bias=bias)
    dtype = keras.backend.standardize_dtype(rows.dtype)
    implementation = _OP.choose(tuple(rows.shape), dtype, [x for x in (rows, matrix, bias) if x is not None])
    return ops.convert_to_tensor(implementation(rows, matrix, bias), dtype)
