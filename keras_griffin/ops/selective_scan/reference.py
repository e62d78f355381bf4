"""The definition of `selective_scan` and of its gradient: NumPy in float64, one step after the other.

The other implementations are tested against it, and it is tested by finite differences.
"""

import numpy as np

from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs


def definition(selection: SelectiveScanInputs, initial_state=None, *, reset=None, mask=None):
    """Every output and the last state, in float64; `reset`, `mask`: (B, T) bool."""
    inputs, _, _, _, c = selection = _hidden(selection, mask)
    states = _states(selection, initial_state, _forgotten(inputs, reset, mask))
    outputs = np.einsum("tbdn,btn->btd", states[1:], c)
    return outputs if mask is None else np.where(mask[..., None], outputs, 0.0), states[-1]


def selective_scan_gradient(selection: SelectiveScanInputs, initial_state, gradients, *, reset=None, mask=None):
    """The gradients of a loss, from those for outputs and final state.

    With a_t = exp(s_t A), gy_t the gradient for y_t and g_t that for h_t, which in the last step includes the final
    state's,

        g_t[d,n] = c_t[n] gy_t[d] + a_{t+1}[d,n] g_{t+1}[d,n]
        du_t[d] = sum_n g_t s_t b_t                 db_t[n] = sum_d g_t s_t u_t         dc_t[n] = sum_d gy_t h_t
        ds_t[d] = sum_n g_t (A a_t h_{t-1} + b_t u_t)     dA[d,n] = sum_{b,t} g_t s_t a_t h_{t-1}

    A reset at step t makes h_{t-1} there, and the gradient passed back from g_t, zero even where they are not finite.
    Returned are the gradients for selection and initial state.
    """
    inputs, sizes, rates, b, c = selection = _hidden(selection, mask)
    into_outputs, gradient = (np.asarray(x, "float64") for x in gradients)
    if mask is not None:
        into_outputs = np.where(mask[..., None], into_outputs, 0.0)
    forgotten = _forgotten(inputs, reset, mask)
    states = _states(selection, initial_state, forgotten)
    into = SelectiveScanInputs(*(np.zeros_like(x) for x in selection))
    for t in reversed(range(inputs.shape[1])):
        u, s = inputs[:, t, :, None], sizes[:, t, :, None]
        before, decay = np.where(forgotten[:, t], 0.0, states[t]), np.exp(s * rates)
        gradient = gradient + c[:, t, None] * into_outputs[:, t, :, None]
        into_decay = gradient * decay * before
        into.inputs[:, t] = np.sum(gradient * s * b[:, t, None], 2)
        into.step_sizes[:, t] = np.sum(into_decay * rates + gradient * b[:, t, None] * u, 2)
        into.rates[...] += np.sum(into_decay * s, 0)
        into.input_weights[:, t] = np.sum(gradient * s * u, 1)
        into.output_weights[:, t] = np.sum(into_outputs[:, t, :, None] * states[t + 1], 1)
        gradient = decay * np.where(forgotten[:, t], 0.0, gradient)
    if mask is not None:
        into = into.map_sequences(lambda x: np.where(mask[..., None], x, 0.0))
    return into, gradient


def selective_scan(selection: SelectiveScanInputs, initial_state, marks: Marks) -> tuple[np.ndarray, np.ndarray]:
    """The definition, for tensors; see the package."""
    arrays = SelectiveScanInputs(*(np.asarray(x) for x in selection))
    reset, mask = (mark if mark is None else np.asarray(mark)[..., 0] for mark in marks)
    return definition(arrays, np.asarray(initial_state), reset=reset, mask=mask)


def _hidden(selection, mask):
    """In double precision, with zeros at the masked steps, where the decay is then one and nothing enters or leaves."""
    selection = SelectiveScanInputs(*(np.array(x, "float64") for x in selection))
    return selection if mask is None else selection.map_sequences(lambda x: np.where(mask[..., None], x, 0.0))


def _forgotten(inputs, reset, mask):
    """Where the past is forgotten, `(B, T, 1, 1)`."""
    forgotten = np.zeros(inputs.shape[:2], bool) if reset is None else np.array(reset)
    return (forgotten if mask is None else forgotten & mask)[..., None, None]


def _states(selection, initial_state, forgotten):
    """h_0 and every state, `(1 + T, B, D, N)`."""
    inputs, sizes, rates, b, _ = selection
    batch_size, length, _ = inputs.shape
    states = np.zeros((1 + length, batch_size, *rates.shape))
    if initial_state is not None:
        states[0] = initial_state
    for t in range(length):
        s, entering = sizes[:, t, :, None], (sizes[:, t] * inputs[:, t])[..., None] * b[:, t, None]
        states[t + 1] = np.exp(s * rates) * np.where(forgotten[:, t], 0.0, states[t]) + entering
    return states
