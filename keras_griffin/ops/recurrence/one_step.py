"""A sequence of one step: just the equation."""

from keras_griffin.ops.recurrence.marks import Marks, forgetting, zero_where
from keras_griffin.ops.recurrence.numbers import Components, add, multiply


def one_step(
    decay: Components, inputs: Components, initial_state: Components, marks: Marks
) -> tuple[Components, Components]:
    """States `(B, 1, D)` and final state, from effective numbers `(B, 1, D)` and the state before them."""
    states = add(multiply(decay, zero_where(forgetting(marks), tuple(h[:, None] for h in initial_state))), inputs)
    return states, tuple(h[:, 0] for h in states)
