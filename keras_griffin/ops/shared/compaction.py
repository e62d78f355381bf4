"""Moving masked steps to one end, so that the real steps are contiguous."""

from collections.abc import Callable

from keras import ops

from keras_griffin.shapes import Tensor


def on_real_steps(
    function: Callable, inputs: Tensor, reset: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`function(inputs, reset, real) -> (outputs, final)` of `(B, T, D)` and `(B, T)`, its outputs zero where masked.

    The function finds the real steps at the front, `real (B, 1)` int32 of them; without a mask `real` is None.
    """
    if mask is None:
        return function(inputs, reset, None)
    sources, places = real_steps_first(mask)
    inputs = take_steps(ops.where(ops.expand_dims(mask, -1), inputs, 0), sources)
    reset = None if reset is None else take_steps(ops.logical_and(reset, mask), sources)
    outputs, final = function(inputs, reset, ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True))
    return ops.where(ops.expand_dims(mask, -1), take_steps(outputs, places), 0), final


def real_steps_first(mask: Tensor) -> tuple[Tensor, Tensor]:
    """`(sources, places)`, each `(B, T)` int32, which move the True steps of `mask (B, T)` to the front, and back.

    `take_steps(x, sources)` keeps the order of real steps and of masked steps; `take_steps(moved, places)` undoes it.
    """
    return _permutation(ops.logical_not(mask))


def real_steps_last(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Like `real_steps_first`, with the real steps at the end."""
    return _permutation(mask)


def _permutation(late):
    rows, length = ops.shape(late)
    steps = ops.arange(length, dtype="int32") + ops.zeros_like(late, "int32")
    # Counted, not sorted: ten times faster on JAX, and ONNX's exporter has no stable sort.
    early = ops.cumsum(ops.cast(ops.logical_not(late), "int32"), axis=1)
    places = ops.where(late, early[:, -1:] + steps - early, early - 1)
    flat = places + ops.arange(rows, dtype="int32")[:, None] * length
    steps = ops.reshape(steps, (-1,))
    sources = ops.scatter_update(ops.zeros_like(steps), ops.reshape(flat, (-1, 1)), steps)
    return ops.reshape(sources, (rows, length)), places


def at_latest(marks: Tensor, values: Tensor) -> Tensor:
    """For each step the value, `(B, T)`, of the latest step that is True in `marks (B, T)`; 0 before the first."""
    count = ops.cumsum(ops.cast(marks, "int32"), axis=1)
    # PyTorch can't export Keras's `take_along_axis` of a free size.
    steps = take_steps(real_steps_first(marks)[0], ops.maximum(count - 1, 0))
    return ops.where(count > 0, take_steps(values, steps), 0)


def take_steps(x: Tensor, sources: Tensor) -> Tensor:
    """The steps of each row in another order, `y[b, t] = x[b, sources[b, t]]`, for `x (B, S, ...)`."""
    batch_size, length, *rest = ops.shape(x)
    if 0 in x.shape:
        # Some backends reject an empty array, or give it a wrong shape.
        return ops.zeros((batch_size, ops.shape(sources)[1], *rest), x.dtype)
    # Whole rows of one matrix: on every backend this is faster, forward and backward, than a gather along an axis.
    first_rows = ops.expand_dims(ops.arange(batch_size, dtype="int32"), 1) * length
    return ops.take(ops.reshape(x, (batch_size * length, *rest)), first_rows + sources, axis=0)
