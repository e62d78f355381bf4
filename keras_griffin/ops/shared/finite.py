"""Which steps are finite, and practically so."""

import keras
from keras import ops

from keras_griffin.shapes import Tensor

#: The norm limit of a step; the product of two such norms is below the 1e30 that hides a logit.
LARGEST_NORM = 1e14


def finite_steps(x: Tensor) -> Tensor:
    """Which steps of `(B, T, ...)` are finite throughout, and not practically infinite: `(B, T)` bool."""
    # One pass; a comparison with NaN is False.
    dtype = keras.backend.standardize_dtype(x.dtype)
    axes = tuple(range(2, len(x.shape)))
    squares = ops.square(ops.cast(x, "float64" if dtype == "float64" else "float32"))
    return ops.sum(squares, axis=axes) < LARGEST_NORM**2
