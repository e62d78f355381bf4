"""Y = X W for few rows, as in a decoding step: the contract, and the table of implementations.

An implementation is one file and one row below, with the function `row_product(rows, matrix)` of the contract. Its
`supports(facts)` returns None, or why it can't serve such a call, in words that follow "It".
"""

import keras
from keras import ops

from keras_griffin.ops.arguments import as_tensor, check_floating
from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.shapes import Tensor

_OP = Op(
    "row_product",
    __name__,
    [
        Implementation("jax_bfloat16", backend="jax", automatic=("cpu",)),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
)


def row_product(rows: Tensor, matrix: Tensor) -> Tensor:
    """Multiply rows by a matrix.

        y_nj = sum_i x_ni w_ij

    Args:
        rows: `(n, D)` float; n may be unknown while a model is being built.
        matrix: `(D, U)`, of the same dtype.

    Returns:
        `(n, U)`, dtype of `rows`.

    Precision: products are summed in at least float32 and rounded once, as far as the backend does so.

    Raises:
        ValueError: the shapes do not fit, a dtype is not floating, or the requested implementation can't serve the
            call.
    """
    rows, matrix = as_tensor(rows), as_tensor(matrix)
    if len(rows.shape) != 2 or len(matrix.shape) != 2 or rows.shape[1] != matrix.shape[0]:
        raise ValueError(
            "row_product: rows must have shape (n, D) and the matrix (D, U). "
            f"Got {tuple(rows.shape)} and {tuple(matrix.shape)}."
        )
    check_floating("row_product", rows=rows, matrix=matrix)
    dtype = keras.backend.standardize_dtype(rows.dtype)
    implementation = _OP.choose(tuple(rows.shape), dtype, (rows, matrix))
    return ops.convert_to_tensor(implementation(rows, matrix), dtype)
