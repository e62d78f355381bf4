"""The gradient of a scan by a scan in the other direction, on every backend.

From the gradients g for the states h and f for the last:

    l_t = g_t + conj(a_{t+1}) l_{t+1}      for x, with f added to g_T
    l_t conj(h_{t-1})                      for a
    conj(a_1) l_1                          for h_0
"""

from collections.abc import Callable

from keras import ops

from keras_griffin.ops.recurrence.marks import zero_where
from keras_griffin.ops.recurrence.numbers import Components, conjugate, multiply
from keras_griffin.shapes import Tensor


def gradient_by_scan(
    scan: Callable,
    decay: Components,
    states: Components,
    initial_state: Components,
    forgotten: Tensor | None,
    gradients: tuple[Components, Components],
    reverse: bool,
) -> tuple[Components, Components, Components]:
    """The gradients for decay, inputs and initial state, from those for states and final state.

    `scan` is `(decay, inputs, initial_state, forgotten, reverse) -> (states, final_state)`; where the past is
    forgotten, `decay` is 0. `reverse` is the direction of the scan whose gradient it is.
    """
    states_gradient, final_gradient = gradients
    first = -1 if reverse else 0
    ones = tuple(ops.full_like(a[:, :1], 1.0 - index) for index, a in enumerate(decay))
    following = _shifted(conjugate(decay), ones, not reverse)
    forgets_next = None
    if forgotten is not None:
        (forgets_next,) = _shifted((forgotten,), (ops.zeros_like(forgotten[:, :1]),), not reverse)
    inputs_gradient, _ = scan(following, states_gradient, final_gradient, forgets_next, not reverse)
    before = zero_where(forgotten, _shifted(states, tuple(h[:, None] for h in initial_state), reverse))
    into_start = multiply(conjugate(_at(decay, first)), _at(inputs_gradient, first))
    into_start = zero_where(None if forgotten is None else forgotten[:, first], into_start)
    return multiply(inputs_gradient, conjugate(before)), inputs_gradient, into_start


def _at(arrays, place):
    return tuple(array[:, place] for array in arrays)


def _shifted(arrays, entering, to_earlier):
    """Every row moved one place later, or earlier, with `entering` at the end that becomes free."""
    if to_earlier:
        return tuple(ops.concatenate([x[:, 1:], row], axis=1) for x, row in zip(arrays, entering, strict=True))
    return tuple(ops.concatenate([row, x[:, :-1]], axis=1) for x, row in zip(arrays, entering, strict=True))
