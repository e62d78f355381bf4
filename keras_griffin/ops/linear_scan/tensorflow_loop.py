"""On TensorFlow: one in-place while loop along time, and one such loop backward for the gradients.

Both are always compiled by XLA, whether or not the function around them is.
"""

import functools

import tensorflow as tf

from keras_griffin.ops.recurrence.marks import with_marks_applied
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.recurrence.tensorflow_in_place import scan, scan_gradient
from keras_griffin.shapes import Tensor


def supports(facts) -> str | None:
    """Everything on TensorFlow."""
    return None


@with_marks_applied
def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, forgotten: Tensor | None, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    parts = len(inputs)
    marks = () if forgotten is None else (forgotten,)

    def compiled(function):
        return _compiled(function, parts, inputs[0].dtype, forgotten is not None, reverse)

    @tf.custom_gradient
    def differentiable_scan(*tensors):
        # Hidden from tapes, which would turn the compiled function into another one that stores every step's arrays.
        stopped = [tf.stop_gradient(tensor) for tensor in tensors]
        decay, inputs, initial_state = (tuple(stopped[i : i + parts]) for i in range(0, 3 * parts, parts))
        states, final_state = compiled(scan)(decay, inputs, initial_state, *marks)

        def gradient(*gradients):
            given = gradients[:parts], gradients[parts:]
            return tf.nest.flatten(compiled(scan_gradient)(decay, states, initial_state, *marks, given))

        return (*states, *final_state), gradient

    results = differentiable_scan(*decay, *inputs, *initial_state)
    results = [tf.ensure_shape(y, x.shape) for y, x in zip(results, (*inputs, *initial_state), strict=True)]
    return tuple(results[:parts]), tuple(results[parts:])


@functools.cache
def _compiled(function, parts, dtype, forgets, reverse):
    """The function, traced once and compiled once for each shape."""
    number, state = ((tf.TensorSpec([None] * rank, dtype),) * parts for rank in (3, 2))
    # A signature can't contain None.
    marks = [tf.TensorSpec([None, None, 1], tf.bool)] if forgets else []
    gradients = [(number, state)] if function is scan_gradient else []

    def run(decay, numbers, initial_state, *others):
        forgotten, given = (others[0], others[1:]) if forgets else (None, others)
        return function(decay, numbers, initial_state, forgotten, *given, reverse)

    signature = [number, number, state, *marks, *gradients]
    return tf.function(run, input_signature=signature, jit_compile=True, autograph=False)
