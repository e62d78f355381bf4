"""The definition of `log_scan` and of its gradient: NumPy in float64, one step after the other.

The other implementations are tested against it, and it is tested by finite differences.
"""

import numpy as np

from keras_griffin.shapes import Tensor

#: The logarithm of zero.
NOTHING = -1e30


def definition(decay, inputs, initial_state=None, *, reset=None, mask=None):
    """Every state of L_t = log(exp(L_{t-1} + d_t) + exp(x_t)).

    Args:
        decay: d, `(B, T, D)`.
        inputs: x, `(B, T, D)`.
        initial_state: `(B, D)`; None for nothing.
        reset: `(B, T)` bool; at a True step the past is forgotten.
        mask: `(B, T)` bool; a False step leaves the state unchanged.

    Returns:
        (states, final_state): `(B, T, D)` and `(B, D)`, float64.
    """
    decay, inputs, forgotten = _apply_marks(decay, inputs, reset, mask)
    states = np.empty_like(inputs)
    state = _first(inputs, initial_state)
    for t in range(inputs.shape[1]):
        past = _past(decay, state, forgotten, t)
        largest = np.maximum(past, inputs[:, t])
        state = largest + np.log1p(np.exp(-np.abs(past - inputs[:, t])))
        states[:, t] = state
    return states, state


def log_scan_gradient(decay, inputs, initial_state, states_gradient, final_gradient, *, reset=None, mask=None):
    """The gradients of a loss, from those for states and final state.

    With y_t the gradient for L_t, the last of which includes the final state's, and g_t = exp(L_{t-1} + d_t - L_t),

        G_t = y_t + g_{t+1} G_{t+1}        dx_t = exp(x_t - L_t) G_t        dd_t = g_t G_t        dL_0 = g_1 G_1

    A reset at step t makes dd_t, and the gradient passed back from G_t, zero even where they are not finite.

    Args:
        decay: as for `definition`, and so are `inputs`, `initial_state`, `reset` and `mask`.
        inputs: see `decay`.
        initial_state: see `decay`.
        states_gradient: `(B, T, D)`.
        final_gradient: `(B, D)`.
        reset: see `decay`.
        mask: see `decay`.

    Returns:
        The gradients for decay, inputs and initial state, shaped as they are.
    """
    states, _ = definition(decay, inputs, initial_state, reset=reset, mask=mask)
    decay, inputs, forgotten = _apply_marks(decay, inputs, reset, mask)
    first = _first(inputs, initial_state)
    decay_gradient, inputs_gradient = np.empty_like(decay), np.empty_like(inputs)
    gradient = np.zeros_like(first) + final_gradient
    for t in reversed(range(inputs.shape[1])):
        gradient = states_gradient[:, t] + gradient
        past = _past(decay, states[:, t - 1] if t else first, forgotten, t)
        inputs_gradient[:, t] = gradient * np.exp(inputs[:, t] - states[:, t])
        gradient = np.where(forgotten[:, t], 0.0, gradient * np.exp(past - states[:, t]))
        decay_gradient[:, t] = gradient
    if mask is not None:
        decay_gradient[~mask] = 0.0
        inputs_gradient[~mask] = 0.0
    return decay_gradient, inputs_gradient, gradient


def log_scan(decay: Tensor, inputs: Tensor, initial_state: Tensor, marks: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The definition, for an implementation's arguments; see the package."""
    numbers = (np.asarray(x, "float64") for x in (decay, inputs, initial_state))
    reset, mask = (mark if mark is None else np.asarray(mark)[..., 0] for mark in marks)
    return definition(*numbers, reset=reset, mask=mask)


def _apply_marks(decay, inputs, reset, mask):
    """Decay and inputs in double precision with reset and mask applied, and where the past is forgotten."""
    decay, inputs = np.array(decay, np.float64), np.array(inputs, np.float64)
    forgotten = np.zeros((*inputs.shape[:2], 1), bool)
    if reset is not None:
        forgotten[reset] = True
    if mask is not None:
        decay[~mask], inputs[~mask], forgotten[~mask] = 0.0, -np.inf, False
    return decay, inputs, forgotten


def _first(inputs, initial_state):
    state = np.full((inputs.shape[0], inputs.shape[2]), NOTHING)
    return state if initial_state is None else np.array(initial_state, np.float64)


def _past(decay, state, forgotten, t):
    return np.where(forgotten[:, t], NOTHING, state + decay[:, t])
