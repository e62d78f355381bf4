"""The definition of `log_scan` and of its gradient: NumPy in float64, one step after the other."""

import numpy as np

from keras_griffin.ops.linear_scan import reference as scan_reference

#: A state that holds nothing. Not -inf: the difference of two such states is 0, and of infinities NaN.
NOTHING = -1e30


def definition(decay, inputs, initial_state=None, *, reset=None, mask=None):
    """Every state of L_t = log(exp(L_{t-1} + d_t) + exp(x_t)).

    `decay`, `inputs`: (B, T, D); `initial_state`: (B, D), None for nothing; `reset`, `mask`: (B, T). The results are
    states and final state, float64.
    """
    decay, inputs, forgotten = _apply_marks(decay, inputs, reset, mask)
    states = np.empty_like(inputs)
    state = np.full((inputs.shape[0], inputs.shape[2]), NOTHING)
    if initial_state is not None:
        state = np.array(initial_state, np.float64)
    for t in range(inputs.shape[1]):
        past = np.where(forgotten[:, t], NOTHING, state + decay[:, t])
        state = np.maximum(past, inputs[:, t]) + np.log1p(np.exp(-np.abs(past - inputs[:, t])))
        states[:, t] = state
    return states, state


def log_scan_gradient(decay, inputs, initial_state, states_gradient, final_gradient, *, reset=None, mask=None):
    """The gradients for log_decay, inputs and initial state, from the gradients for states and final state.

    With y_t the gradient for L_t, the last of which includes the final state's, and g_t = exp(L_{t-1} + d_t - L_t),

        G_t = y_t + g_{t+1} G_{t+1}        dx_t = exp(x_t - L_t) G_t        dd_t = g_t G_t        dL_0 = g_1 G_1

    A reset at step t makes dd_t, and the gradient passed back from G_t, zero even where they are not finite.
    """
    states, _ = definition(decay, inputs, initial_state, reset=reset, mask=mask)
    decay, inputs, forgotten = _apply_marks(decay, inputs, reset, mask)
    first = NOTHING if initial_state is None else initial_state
    decay_gradient, inputs_gradient = np.empty_like(decay), np.empty_like(inputs)
    gradient = np.zeros_like(inputs, shape=(inputs.shape[0], inputs.shape[2])) + final_gradient
    for t in reversed(range(inputs.shape[1])):
        gradient = states_gradient[:, t] + gradient
        past = (states[:, t - 1] if t else first) + decay[:, t]
        inputs_gradient[:, t] = gradient * np.exp(inputs[:, t] - states[:, t])
        gradient = np.where(forgotten[:, t], 0.0, gradient * np.exp(past - states[:, t]))
        decay_gradient[:, t] = gradient
    if mask is not None:
        decay_gradient[~mask], inputs_gradient[~mask] = 0.0, 0.0
    return decay_gradient, inputs_gradient, gradient


def log_scan(decay, inputs, initial_state, marks):
    """The definition, for an implementation's arguments; see the package."""
    numbers = (np.asarray(x, "float64") for x in (decay, inputs, initial_state))
    return definition(*numbers, **scan_reference.flags(marks))


def _apply_marks(decay, inputs, reset, mask):
    return scan_reference.apply_marks(decay, inputs, reset, mask, zero=-np.inf, one=0.0)
