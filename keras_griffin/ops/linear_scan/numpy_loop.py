"""On the NumPy backend: one step after the other."""

import numpy as np

from keras_griffin.ops.linear_scan.reference import components
from keras_griffin.ops.recurrence.marks import with_marks_applied


def supports(facts) -> str | None:
    """Everything on the NumPy backend."""
    return None


@with_marks_applied
def linear_scan(decay, inputs, initial_state, forgotten, reverse):
    """Every state and the last one; see the package."""
    a, x, state = (h[0] if len(h) == 1 else h[0] + 1j * h[1] for h in (decay, inputs, initial_state))
    states = np.empty_like(x)
    steps = range(x.shape[1])
    for t in reversed(steps) if reverse else steps:
        past = state if forgotten is None else np.where(forgotten[:, t], 0.0, state)
        state = a[:, t] * past + x[:, t]
        states[:, t] = state
    return components(states), components(state)
