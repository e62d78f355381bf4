"""The definition: NumPy, float64, one number after another."""

import numpy as np


def row_product(rows, matrix, bias=None):
    """`(n, U)`, float64; the contract is `keras_griffin.ops.row_product`."""
    rows, matrix = np.asarray(rows, "float64"), np.asarray(matrix, "float64")
    outputs = np.zeros((len(rows), matrix.shape[1]))
    if bias is not None:
        outputs += np.asarray(bias, "float64")
    for n, row in enumerate(rows):
        for i, x in enumerate(row):
            outputs[n] += x * matrix[i]
    return outputs


def row_product_gradient(cotangent, rows, matrix, bias=None):
    """The gradients of `sum(cotangent * outputs)`: dx = dy W^T, dW = x^T dy, and db = sum_n dy_n, float64."""
    cotangent, rows, matrix = (np.asarray(x, "float64") for x in (cotangent, rows, matrix))
    gradients = row_product(cotangent, matrix.T), row_product(rows.T, cotangent)
    return gradients if bias is None else (*gradients, cotangent.sum(axis=0))
