"""Rotary position embedding."""

import math
import numbers
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin.ops.arguments import as_tensor, check_floating
from keras_griffin.shapes import Tensor

#: Integer positions are written in this base, in so many digits. A digit times its weight is a small angle, of which
#: float32 loses little, where it would lose 0.06 of the angle of position 1,000,000.
BASE, DIGITS = 128, 3


def rotary_embedding(x: Tensor, positions: Tensor, *, fraction: float = 0.5, base: float = 10000.0) -> Tensor:
    """Rotate pairs of channels of each head by angles proportional to the position.

        (y_j, y_{j+r/2}) = (x_j cos a - x_{j+r/2} sin a, x_{j+r/2} cos a + x_j sin a)        j = 0 .. r/2 - 1
        a = position * base^(-2 j / r)        r = fraction * H

    The other channels pass unchanged. The inner product of two rotated heads depends on the distance between their
    positions, not on the positions themselves.

    Args:
        x: `(B, T, N, H)` float: heads.
        positions: `(T,)` or `(B, T)`, integers or floats.
        fraction: the fraction of the channels that is rotated, the first ones; their number must be even.
        base: roughly the ratio of the longest wavelength to the shortest; positive and finite.

    Returns:
        `(B, T, N, H)`, dtype of `x`.

    Precision: angles and rotation in float32 (float64 for float64 `x`), rounded once to the dtype of `x`. Angles of
        integer positions up to 2,000,000 are off by less than 1e-4.

    Raises:
        ValueError: the shapes do not fit, `x` is not floating, the base is not positive and finite, or the number of
            rotated channels is not even and from 0 to H.

    Reference: Su et al. 2021 (arXiv 2104.09864); half of the channels: the released code of Griffin.
    """
    x, positions = as_tensor(x), as_tensor(positions)
    check_floating("rotary_embedding", x=x)
    _check_shapes(tuple(x.shape), tuple(positions.shape))
    if not isinstance(base, numbers.Real) or isinstance(base, bool) or not 0.0 < base < math.inf:
        raise ValueError(f"rotary_embedding: base must be a positive finite number. Got {base!r}.")
    dtype = keras.backend.standardize_dtype(x.dtype)
    return rotated(x, rotation(positions, x.shape[-1], dtype, fraction=fraction, base=base))


class Rotation(NamedTuple):
    """The rotation of each position, the same for all heads: `(..., T, 1, r / 2)`, at least float32."""

    cosine: Tensor
    sine: Tensor


def rotation(positions: Tensor, channels: int, dtype: str, *, fraction: float, base: float) -> Rotation | None:
    """What `rotary_embedding` does to heads of so many channels and that dtype at these positions; None for nothing."""
    count = _rotated_channels(channels, fraction)
    if count == 0:
        return None
    wavenumbers = base ** (-2.0 * np.arange(count // 2) / count)
    angles = _angles(as_tensor(positions), wavenumbers, "float64" if dtype == "float64" else "float32")
    return Rotation(ops.expand_dims(ops.cos(angles), -2), ops.expand_dims(ops.sin(angles), -2))


def rotated(x: Tensor, by: Rotation | None) -> Tensor:
    """Heads `(B, T, N, H)` after a rotation."""
    if by is None:
        return x
    half = by.cosine.shape[-1]
    first, second = (ops.cast(part, by.cosine.dtype) for part in (x[..., :half], x[..., half : 2 * half]))
    turned = [first * by.cosine - second * by.sine, second * by.cosine + first * by.sine]
    return ops.concatenate([*(ops.cast(part, x.dtype) for part in turned), x[..., 2 * half :]], axis=-1)


def _angles(positions, wavenumbers, dtype):
    """The product, for integer positions modulo 2 pi: `(..., r / 2)`."""
    if not keras.backend.is_int_dtype(positions.dtype):
        return ops.expand_dims(ops.cast(positions, dtype), -1) * ops.convert_to_tensor(wavenumbers, dtype)
    if keras.backend.standardize_dtype(positions.dtype) != "int64":
        positions = ops.cast(positions, "int32")
    # The digits of -1 would be as large as they can be.
    rest, angles = ops.abs(positions), 0.0
    for place in range(DIGITS):
        # The last digit is all that is left.
        digit = rest % BASE if place < DIGITS - 1 else rest
        weight = np.remainder(BASE**place * wavenumbers + math.pi, 2 * math.pi) - math.pi
        angles += ops.expand_dims(ops.cast(digit, dtype), -1) * ops.convert_to_tensor(weight, dtype)
        rest = rest // BASE
    return angles * ops.cast(ops.expand_dims(ops.sign(positions), -1), dtype)


def _check_shapes(x_shape, positions_shape):
    fits = len(x_shape) == 4 and len(positions_shape) in (1, 2)
    expected = x_shape[1:2] if len(positions_shape) == 1 else x_shape[:2]
    sizes = zip(positions_shape, expected, strict=False)
    if not fits or any(None not in (p, e) and p not in (e, 1) for p, e in sizes):
        raise ValueError(
            "rotary_embedding: x must have shape (B, T, N, H) and positions (T,) or (B, T). "
            f"Got x {x_shape} and positions {positions_shape}."
        )


def _rotated_channels(channels, fraction):
    rotated = round(fraction * channels) if 0.0 <= fraction <= 1.0 else -1
    if rotated < 0 or rotated % 2 or abs(rotated - fraction * channels) > 1e-6:
        raise ValueError(
            "rotary_embedding: the number of rotated channels, fraction * H, must be even and from 0 to H. "
            f"Got fraction {fraction} and H {channels}."
        )
    return rotated
