"""On the NumPy backend: one step after the other."""

import numpy as np

from keras_griffin.ops.recurrence.marks import with_marks_applied
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.shapes import Tensor


def supports(facts) -> str | None:
    """Everything on the NumPy backend."""
    return None


@with_marks_applied
def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, forgotten: Tensor | None, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    a, x, state = _number(decay), _number(inputs), _number(initial_state)
    states = np.empty_like(x)
    steps = range(x.shape[1])
    for t in reversed(steps) if reverse else steps:
        past = state if forgotten is None else np.where(forgotten[:, t], 0.0, state)
        state = a[:, t] * past + x[:, t]
        states[:, t] = state
    return _components(states), _components(state)


def _number(components):
    return components[0] if len(components) == 1 else components[0] + 1j * components[1]


def _components(number):
    return (number.real, number.imag) if np.iscomplexobj(number) else (number,)
