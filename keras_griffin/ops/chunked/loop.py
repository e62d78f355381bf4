"""A loop from chunk to chunk of time, through a state that is more than a number for each channel."""

from collections.abc import Callable, Sequence

import keras
from keras import ops

from keras_griffin.backends import imported
from keras_griffin.shapes import Tensor

_BACKEND = keras.backend.backend()
# At import time: Dynamo can't follow an import.
_TENSORFLOW = imported("keras_griffin.ops.chunked.tensorflow_loop") if _BACKEND == "tensorflow" else None


def over_chunks(
    step: Callable, start: Tensor, sequences: Sequence[Tensor], constants: Sequence[Tensor] = ()
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Run `state, results = step(state, *numbers, *constants)` for each chunk.

    Args:
        step: in `keras.ops`; it closes over no tensor. The results are a tuple.
        start: the first state.
        sequences: the numbers of n chunks, each `(n, ...)`; n is at least 1, and may be unknown on TensorFlow.
        constants: tensors that all chunks share.

    Returns:
        (states, last, results): the states before each chunk, `(n, ...)`, the state after the last one, and each of the
        results, `(n, ...)`.
    """
    sequences, constants = tuple(sequences), tuple(constants)
    if _TENSORFLOW is not None:
        return _TENSORFLOW.over_chunks(step, start, sequences, constants)

    def kept(state, numbers):
        after, results = step(state, *numbers, *constants)
        return after, (state, *results)

    if _BACKEND == "jax":
        last, (states, *results) = ops.scan(kept, start, sequences)
        return states, last, tuple(results)
    last, chunks = start, []
    for numbers in zip(*sequences, strict=True):
        last, found = kept(last, numbers)
        chunks.append(found)
    states, *results = (ops.stack(parts) for parts in zip(*chunks, strict=True))
    return states, last, tuple(results)
