"""The first step of a stream, which is the start of a document."""

from keras import ops

from keras_griffin.ops.shared.time_axis import positions
from keras_griffin.shapes import Tensor


def start_stream(started: Tensor, inputs: Tensor, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Resets `(B, T)`, one of them at each stream's first step; and the rows `(B,)` that have started by the end."""
    fresh = ops.logical_not(ops.expand_dims(started, 1))
    if inputs.shape[1] == 0:
        first = ops.zeros(ops.shape(inputs)[:2], "bool")
    elif mask is None:
        first, started = ops.logical_and(fresh, positions(ops.shape(inputs)[1]) == 0), ops.ones_like(started)
    else:
        steps = ops.cumsum(ops.cast(mask, "int32"), axis=1)
        first = ops.logical_and(fresh, mask & (steps == 1))
        started = ops.logical_or(started, ops.any(mask, axis=1))
    return first if reset is None else ops.logical_or(first, reset), started
