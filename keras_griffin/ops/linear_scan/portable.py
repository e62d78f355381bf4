"""On every backend: log T rounds over whole arrays with `keras.ops`, differentiated by the backend itself."""

from keras_griffin.ops.recurrence import prefix
from keras_griffin.ops.recurrence.marks import with_marks_applied
from keras_griffin.ops.recurrence.numbers import LINEAR, Components
from keras_griffin.shapes import Tensor

supports = prefix.supports


@with_marks_applied
def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, forgotten: Tensor | None, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    return prefix.scan(decay, inputs, initial_state, forgotten, reverse, LINEAR)
