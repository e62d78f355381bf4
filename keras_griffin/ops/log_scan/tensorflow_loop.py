"""On TensorFlow: an in-place loop, always compiled by XLA, and the loop of `linear_scan` backward for the gradients."""

import tensorflow as tf

from keras_griffin.ops.log_scan.log_numbers import LOG, apply_marks, gradient_by
from keras_griffin.ops.recurrence import tensorflow_in_place
from keras_griffin.ops.recurrence.marks import forgetting


def supports(facts) -> str | None:
    """Everything on TensorFlow."""
    return None


def log_scan(decay, inputs, initial_state, marks):
    """Every state and the last one; see the package."""
    decay, inputs = apply_marks(decay, inputs, marks, initial_state.dtype)
    forgotten = forgetting(marks)

    @tf.custom_gradient
    def differentiable(*tensors):
        # Hidden from tapes, which would turn the compiled function into another one that stores every step's arrays.
        decay, inputs, initial_state = (tf.stop_gradient(tensor) for tensor in tensors)
        states, final_state = _run(decay, inputs, initial_state, forgotten)

        def gradient(*gradients):
            return _run_back(decay, inputs, states, initial_state, forgotten, gradients)

        return (states, final_state), gradient

    states, final_state = differentiable(decay, inputs, initial_state)
    return tf.ensure_shape(states, inputs.shape), tf.ensure_shape(final_state, initial_state.shape)


def _compiled(function):
    """Traced for few kinds of arguments, and compiled once for each shape."""
    return tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True)


@_compiled
def _run(decay, inputs, initial_state, forgotten):
    (states,), (final_state,) = tensorflow_in_place.scan((decay,), (inputs,), (initial_state,), forgotten, False, LOG)
    return states, final_state


@_compiled
def _run_back(decay, inputs, states, initial_state, forgotten, gradients):
    kept = decay, inputs, states, initial_state, forgotten
    return gradient_by(tensorflow_in_place.scan_gradient, *kept, gradients)
