"""On every backend: log T rounds over whole arrays with `keras.ops`, as in `linear_scan`, with sums for products."""

from keras_griffin.ops.log_scan.log_numbers import LOG, apply_marks
from keras_griffin.ops.recurrence import prefix
from keras_griffin.ops.recurrence.marks import forgetting

supports = prefix.supports


def log_scan(decay, inputs, initial_state, marks):
    """Every state and the last one; see the package."""
    decay, inputs = apply_marks(decay, inputs, marks, initial_state.dtype)
    (states,), (final_state,) = prefix.scan(
        (decay,), (inputs,), (initial_state,), forgetting(marks), reverse=False, semiring=LOG
    )
    return states, final_state
