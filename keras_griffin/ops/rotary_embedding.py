"""Rotary position embedding."""

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin.ops.shared.arguments import as_tensor
from keras_griffin.shapes import Tensor

#: Integer positions are written in this base, in so many digits: a digit times its weight is a small angle, where
#: float32 would lose 0.06 of the angle of position 1,000,000.
BASE, DIGITS = 128, 3


class Rotation(NamedTuple):
    """The rotation of each position, the same for all heads: `(..., T, 1, r / 2)`, at least float32."""

    cosine: Tensor
    sine: Tensor


def rotation(positions: Tensor, channels: int, dtype: str, *, fraction: float, base: float) -> Rotation | None:
    """The rotation of pairs of channels by angles proportional to the position.

        (y_j, y_{j+r/2}) = (x_j cos a - x_{j+r/2} sin a, x_{j+r/2} cos a + x_j sin a)        j = 0 .. r/2 - 1
        a = position * base^(-2 j / r)        r = fraction * H

    `positions`: (T,) or (B, T), integers or floats; `dtype`: the heads'. The first `fraction` of the channels, an even
    number, is rotated; None if that is none.

    Precision: angles and rotation in float32 (float64 for float64), rounded once to the dtype of the heads. Angles of
    integer positions up to 2,000,000 are off by less than 1e-4.

    Reference: Su et al. 2021 (arXiv 2104.09864); half of the channels: the released code of Griffin.
    """
    count = round(fraction * channels)
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
