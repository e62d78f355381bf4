"""Vectors as heads, as mixers with a matrix for each head need them."""

import keras
from keras import ops

from keras_griffin.shapes import Tensor


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """`(B, T, N H)` as `(B, T, N, H)`."""
    rows, length = ops.shape(x)[:2]
    return ops.reshape(x, (rows, length, num_heads, x.shape[-1] // num_heads))


def merge_heads(x: Tensor) -> Tensor:
    """`(B, T, N, H)` as `(B, T, N H)`."""
    rows, length = ops.shape(x)[:2]
    return ops.reshape(x, (rows, length, x.shape[2] * x.shape[3]))


def rms_normalised(x: Tensor, epsilon: float) -> Tensor:
    """The last axis, divided by its root mean square: `x / sqrt(mean(x^2) + epsilon)`, in float32 at least."""
    x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    return x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + epsilon)


def l2_normalised(x: Tensor, epsilon: float) -> Tensor:
    """The last axis, divided by its length: `x / sqrt(sum(x^2) + epsilon)`, in float32 at least."""
    x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + epsilon)
