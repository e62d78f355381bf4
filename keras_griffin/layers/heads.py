"""Vectors as heads, as mixers with a matrix for each head need them."""

import keras
from keras import ops

from keras_griffin.shapes import Tensor


def number_of_heads(owner: str, num_heads: int | None, width: int, channels: int, multiple: int = 1) -> int:
    """The heads into which the layer `owner` divides a width, each of a multiple of channels.

    Of those not given, as many as are `channels` wide, but at least four: a narrow layer has narrower ones, because a
    single head would have a single decay. Where that does not divide the width, it is the next lower number that does.

    Raises:
        ValueError: no such heads have that width.
    """
    most = max(4, width // channels)
    fitting = [count for count in range(1, most + 1) if width % (count * multiple) == 0]
    if num_heads is None and fitting:
        return fitting[-1]
    if num_heads is None or width % (num_heads * multiple):
        rule = "" if multiple == 1 else f" into heads of a multiple of {multiple} channels"
        raise ValueError(
            f"{owner}: num_heads must divide the width{rule}. Got num_heads {num_heads} and width {width}."
        )
    return num_heads


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
    square = ops.mean(ops.square(x), axis=-1, keepdims=True) + epsilon
    if epsilon == 0.0:
        # Zeros stay zeros, as at masked steps.
        square = ops.where(square > 0.0, square, 1.0)
    return x * ops.rsqrt(square)


def l2_normalised(x: Tensor, epsilon: float) -> Tensor:
    """The last axis, divided by its length: `x / sqrt(sum(x^2) + epsilon)`, in float32 at least."""
    x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    # Of `ops.square` LiteRT's converter would make its L2_NORMALIZATION, which has no epsilon.
    return x * ops.rsqrt(ops.sum(x * x, axis=-1, keepdims=True) + epsilon)
