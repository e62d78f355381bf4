"""On TensorFlow: one in-place while loop along time, and the loop of `linear_scan` backward for the gradients.

Both are always compiled by XLA, as the loop itself must be.
"""

import tensorflow as tf

from keras_griffin.ops.log_scan.log_numbers import LOG, all_log_odds, apply_marks
from keras_griffin.ops.recurrence import tensorflow_in_place
from keras_griffin.ops.recurrence.marks import Marks, forgetting, zero_where
from keras_griffin.shapes import Tensor


def supports(facts) -> str | None:
    """Everything on TensorFlow."""
    return None


def log_scan(decay: Tensor, inputs: Tensor, initial_state: Tensor, marks: Marks) -> tuple[Tensor, Tensor]:
    """Every state and the last one; see the package."""
    decay, inputs = apply_marks(decay, inputs, marks, initial_state.dtype)
    forgotten = forgetting(marks)

    @tf.custom_gradient
    def differentiable(*tensors):
        # Hidden from tapes, which would turn the compiled function into another one that stores every step's arrays.
        decay, inputs, initial_state = (tf.stop_gradient(tensor) for tensor in tensors)
        states, final_state = _run(decay, inputs, initial_state, forgotten)

        def gradient(*gradients):
            return _run_back(decay, inputs, states, initial_state, forgotten, *gradients)

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
def _run_back(decay, inputs, states, initial_state, forgotten, states_gradient, final_gradient):
    odds = all_log_odds(decay, inputs, states, initial_state, forgotten)
    past, given = tf.sigmoid(odds), ((states_gradient,), (final_gradient,))
    _, (flow,), (into_start,) = tensorflow_in_place.scan_gradient(
        (past,), (states,), (initial_state,), forgotten, given, False
    )
    (into_decay,) = zero_where(forgotten, (flow * past,))
    return into_decay, flow * tf.sigmoid(-odds), into_start
