"""Heads of queries and keys that several heads of values share, and states turned by angles."""

from keras import ops

from keras_griffin.shapes import Tensor


def for_heads(x: Tensor, num_heads: int) -> Tensor:
    """`(B, T, G, H)` as `(B, T, N, H)`: each of the G heads for N / G others."""
    groups = x.shape[2]
    return x if groups == num_heads else ops.repeat(x, num_heads // groups, axis=2)


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Pairs of channels `(j, j + H/2)` of the last axis but one, `(..., H, P)`, turned by angles `(..., H/2)`."""
    cosine, sine = ops.cos(angles)[..., None], ops.sin(angles)[..., None]
    first, second = ops.split(x, 2, axis=-2)
    return ops.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-2)
