"""On every backend: chunks of 64 steps, differentiated by the backend itself.

Within a chunk the kernel, by halves; from chunk to chunk the states alone, in one scan. Time O(T N D), memory O(T D)
and a state for each chunk.
"""

from keras import ops

from keras_griffin.ops import chunked
from keras_griffin.ops.chunked.toeplitz import LONGEST_AT_ONCE, at_once, within_blocks
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.shared.compaction import on_real_steps, take_steps
from keras_griffin.ops.shared.padding import first_steps, padded_steps, power_of_two
from keras_griffin.ops.state_space.inputs import System
from keras_griffin.shapes import Tensor

#: S, the steps of a chunk.
CHUNK = 64


supports = chunked.supports


def state_space(inputs: Tensor, system: System, initial_state: Tensor, marks: Marks) -> tuple[Tensor, Tensor]:
    """The outputs and the last state; see the package."""
    dtype = initial_state.dtype
    inputs, system = ops.cast(inputs, dtype), type(system)(*(ops.cast(x, dtype) for x in system))
    reset, mask = (mark if mark is None else ops.squeeze(mark, -1) for mark in marks)
    return on_real_steps(lambda *steps: _in_chunks(system, initial_state, *steps), inputs, reset, mask)


def _in_chunks(system, initial_state, inputs, reset, real):
    """The outputs, and the state after the first `real (B, 1)` steps of each row, all if None."""
    batch_size, length, width = ops.shape(inputs)
    size = min(CHUNK, power_of_two(length)) if isinstance(length, int) else CHUNK
    numbers, chunks = system.input_weights.shape[1], -(-length // size)
    padding = chunks * size - length
    padded = padded_steps(inputs, after=padding)

    # Channels first: the products are theirs.
    x = ops.reshape(ops.transpose(padded, (2, 0, 1)), (width, -1, size))
    kernel, reading, writing = system.chunk(size)
    entering, forgets, document = x, None, None
    if reset is not None:
        document = ops.cumsum(ops.cast(padded_steps(reset, after=padding), "int32"), axis=1)
        steps = ops.reshape(document, (batch_size, chunks, size))
        ends = steps[..., -1]
        before = padded_steps(ends, before=1)
        forgets = ends != before[:, :-1]
        document, rows = ops.reshape(steps, (-1, size)), ops.reshape(before[:, :-1], (-1, 1))
        entering = ops.where(document == document[:, -1:], x, 0.0)
    entering = ops.reshape(entering @ writing, (width, batch_size, chunks, numbers))
    after = system.after_chunks(size, ops.transpose(entering, (1, 2, 0, 3)), initial_state, forgets)
    states = ops.concatenate([ops.expand_dims(initial_state, 1), after], axis=1)

    seen = states[:, :-1]
    if reset is not None:
        # What not even the first step reads must not be multiplied.
        seen = ops.where((steps[..., 0] == before[:, :-1])[..., None, None], seen, 0.0)
    read = ops.reshape(ops.transpose(seen, (2, 0, 1, 3)), (width, -1, numbers)) @ reading
    read = read if reset is None else ops.where(document == rows, read, 0.0)
    within = (at_once if size <= LONGEST_AT_ONCE else within_blocks)(x, kernel, document)
    outputs = ops.reshape(within + read, (width, batch_size, -1))
    outputs = first_steps(ops.transpose(outputs, (1, 2, 0)), length)
    if real is None and isinstance(length, int) and not padding:
        return outputs, states[:, -1]

    # The last real step is within a chunk, or the first after one: the state before it goes on by its own steps.
    real = ops.zeros((batch_size, 1), "int32") + length if real is None else real
    index = real // size
    state = take_steps(states, index)[:, 0]
    window = real - size + ops.arange(size, dtype="int32")
    is_seen = window >= index * size
    window = ops.maximum(window, 0)
    if reset is not None:
        steps = ops.reshape(steps, (batch_size, -1))
        last = ops.expand_dims(steps[:, -1], 1)
        state = ops.where((take_steps(before, index) == last)[..., None], state, 0.0)
        is_seen = ops.logical_and(is_seen, take_steps(steps, window) == last)
    newest = ops.where(is_seen[..., None], take_steps(padded, window), 0.0)
    newest = ops.transpose(ops.transpose(newest, (2, 0, 1)) @ writing, (1, 0, 2))
    return outputs, system.carried(state, real - index * size, size) + newest
