"""The definition and its gradient: NumPy, float64, one block after another."""

import numpy as np


def block_product(inputs, kernel, bias=None):
    """`(n, U)`, float64; the contract is `keras_griffin.ops.block_product`."""
    inputs, kernel = np.asarray(inputs, "float64"), np.asarray(kernel, "float64")
    outputs = [x @ matrix for x, matrix in zip(_blocks(inputs, kernel), kernel, strict=True)]
    if bias is not None:
        outputs = [y + b for y, b in zip(outputs, np.asarray(bias, "float64"), strict=True)]
    return np.concatenate(outputs, axis=1)


def block_product_gradient(cotangent, inputs, kernel, bias=None):
    """The gradients of `sum(cotangent * outputs)` for inputs, kernel and bias, float64."""
    cotangent, inputs, kernel = (np.asarray(x, "float64") for x in (cotangent, inputs, kernel))
    pairs = list(zip(_blocks(cotangent, kernel), _blocks(inputs, kernel), kernel, strict=True))
    into_inputs = np.concatenate([dy @ matrix.T for dy, _, matrix in pairs], axis=1)
    into_kernel = np.stack([x.T @ dy for dy, x, _ in pairs])
    gradients = into_inputs, into_kernel
    return gradients if bias is None else (*gradients, np.stack([dy.sum(axis=0) for dy, *_ in pairs]))


def _blocks(array, kernel):
    return np.split(array, len(kernel), axis=1)
