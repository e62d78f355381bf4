"""On TensorFlow: one in-place loop along time, and one backward for the gradients, always compiled by XLA."""

import tensorflow as tf

from keras_griffin.ops.recurrence.marks import with_marks_applied
from keras_griffin.ops.recurrence.tensorflow_in_place import scan, scan_gradient


def supports(facts) -> str | None:
    """Everything on TensorFlow."""
    return None


@with_marks_applied
def linear_scan(decay, inputs, initial_state, forgotten, reverse):
    """Every state and the last one; see the package."""
    parts = len(inputs)

    @tf.custom_gradient
    def differentiable_scan(*tensors):
        # Hidden from tapes, which would turn the compiled function into another one that stores every step's arrays.
        stopped = [tf.stop_gradient(tensor) for tensor in tensors]
        decay, inputs, initial_state = (tuple(stopped[i : i + parts]) for i in range(0, 3 * parts, parts))
        states, final_state = _scan(decay, inputs, initial_state, forgotten, reverse)

        def gradient(*gradients):
            given = gradients[:parts], gradients[parts:]
            return tf.nest.flatten(_scan_gradient(decay, states, initial_state, forgotten, given, reverse))

        return (*states, *final_state), gradient

    results = differentiable_scan(*decay, *inputs, *initial_state)
    results = [tf.ensure_shape(y, x.shape) for y, x in zip(results, (*inputs, *initial_state), strict=True)]
    return tuple(results[:parts]), tuple(results[parts:])


def _compiled(function):
    """Traced for few kinds of arguments, and compiled once for each shape."""
    return tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True)


@_compiled
def _scan(decay, inputs, initial_state, forgotten, reverse):
    return scan(decay, inputs, initial_state, forgotten, reverse)


_scan_gradient = _compiled(scan_gradient)
