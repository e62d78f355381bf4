"""The first step of a stream, which is the start of a document."""

from keras import ops

from keras_griffin.ops.shared.time_axis import positions
from keras_griffin.shapes import Tensor


def first_step(started: Tensor, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The steps `(B, T)` that are the first of their row's stream, and the rows `(B,)` that have started after them."""
    if inputs.shape[1] == 0:
        return ops.zeros(ops.shape(inputs)[:2], "bool"), started
    fresh = ops.logical_not(ops.expand_dims(started, 1))
    if mask is None:
        return ops.logical_and(fresh, positions(ops.shape(inputs)[1]) == 0), ops.ones_like(started)
    steps = ops.cumsum(ops.cast(mask, "int32"), axis=1)
    return ops.logical_and(fresh, mask & (steps == 1)), ops.logical_or(started, ops.any(mask, axis=1))
