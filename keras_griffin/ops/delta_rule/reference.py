"""The definition of `delta_rule` and of its gradient: NumPy in float64, one step after the other.

The other implementations are tested against it, and it is tested by finite differences.
"""

import numpy as np

from keras_griffin.ops.recurrence.marks import Marks


def definition(query, key, value, log_decay, rates, initial_state=None, *, reset=None, mask=None):
    """Every output and the last state, in float64; `log_decay` may be None; `reset`, `mask`: (B, T) bool."""
    sequences, forgotten = _prepared((query, key, value, log_decay, rates), reset, mask)
    q, _, v, _, _ = sequences
    states = _states(sequences, initial_state, forgotten)
    outputs = np.einsum("btnh,tbnhp->btnp", q, states[1:])
    return outputs if mask is None else np.where(mask[..., None, None], outputs, 0.0), states[-1]


def delta_rule_gradient(
    query, key, value, log_decay, rates, initial_state, outputs_gradient, final_gradient, *, reset=None, mask=None
):
    """The gradients for query, key, value, log decay (also if it is None), rates and initial state.

    With P_t = exp(l_t) S_{t-1}, e_t = v_t - P_t^T k_t, and go_t and G_t the gradients for o_t and S_t, the last of
    which includes the final state's,

        G_t += q_t go_t^T           dq_t = S_t go_t
        d_t = G_t^T k_t             db_t = d_t . e_t           dv_t = b_t d_t         dk_t = b_t (G_t e_t - P_t d_t)
        dP_t = G_t - b_t k_t d_t^T  dl_t = sum(dP_t * P_t)     G_{t-1} = exp(l_t) dP_t

    A reset at step t makes P_t and the gradient passed back, zero even where they are not finite.
    """
    sequences, forgotten = _prepared((query, key, value, log_decay, rates), reset, mask)
    states = _states(sequences, initial_state, forgotten)
    into = [np.zeros_like(x) for x in sequences]
    gradient = np.zeros_like(states[0]) + final_gradient
    outputs_gradient = np.asarray(outputs_gradient, "float64")
    if mask is not None:
        outputs_gradient = np.where(mask[..., None, None], outputs_gradient, 0.0)
    for t in reversed(range(states.shape[0] - 1)):
        q, k, v, decay, b = _step(sequences, t)
        past = decay * np.where(forgotten[:, t], 0.0, states[t])
        error = v - _read(past, k)
        back = outputs_gradient[:, t]
        gradient = gradient + q[..., None] * back[..., None, :]
        to_key = _read(gradient, k)
        of_past = gradient - (b * k)[..., None] * to_key[..., None, :]
        of_keys = b * (np.einsum("bnhp,bnp->bnh", gradient, error) - np.einsum("bnhp,bnp->bnh", past, to_key))
        of_rates, of_decay = np.sum(to_key * error, -1), np.sum(of_past * past, (-2, -1))
        of_query = np.einsum("bnhp,bnp->bnh", states[t + 1], back)
        for array, part in zip(into, (of_query, of_keys, b * to_key, of_decay, of_rates), strict=True):
            array[:, t] = part
        gradient = np.where(forgotten[:, t], 0.0, decay * of_past)
    if mask is not None:
        for array in into:
            array[~mask] = 0.0
    heads, share = np.shape(query)[2], np.shape(value)[2] // np.shape(query)[2]
    into[:2] = (x.reshape(*x.shape[:2], heads, share, x.shape[-1]).sum(3) for x in into[:2])
    return *into, gradient


def delta_rule(query, key, value, log_decay, rates, initial_state, marks: Marks):
    """The definition, for tensors; see the package."""
    arrays = (x if x is None else np.asarray(x) for x in (query, key, value, log_decay, rates, initial_state))
    reset, mask = (mark if mark is None else np.asarray(mark)[..., 0] for mark in marks)
    return definition(*arrays, reset=reset, mask=mask)


def _prepared(sequences, reset, mask):
    """In double precision, with a key for each head and zeros at masked steps; and where the past is forgotten."""
    query, key, value, log_decay, rates = sequences
    value, rates = np.array(value, "float64"), np.array(rates, "float64")
    share = value.shape[2] // np.shape(key)[2]
    query, key = (np.repeat(np.array(x, "float64"), share, axis=2) for x in (query, key))
    log_decay = np.zeros_like(rates) if log_decay is None else np.array(log_decay, "float64")
    sequences = [query, key, value, log_decay, rates]
    if mask is not None:
        for x in sequences:
            x[~mask] = 0.0
    forgotten = np.zeros(value.shape[:2], bool) if reset is None else np.array(reset)
    return sequences, (forgotten if mask is None else forgotten & mask)[..., None, None, None]


def _step(sequences, t):
    """q, k, v, exp(l) `(B, N, 1, 1)` and b `(B, N, 1)` of a step."""
    q, k, v, log_decay, rates = (x[:, t] for x in sequences)
    return q, k, v, np.exp(log_decay)[..., None, None], rates[..., None]


def _states(sequences, initial_state, forgotten):
    """S_0 and every state, `(1 + T, B, N, H, P)`."""
    _, key, value, _, _ = sequences
    batch_size, length, heads, width = value.shape
    states = np.zeros((1 + length, batch_size, heads, key.shape[-1], width))
    if initial_state is not None:
        states[0] = initial_state
    for t in range(length):
        _, k, v, decay, b = _step(sequences, t)
        past = decay * np.where(forgotten[:, t], 0.0, states[t])
        states[t + 1] = past + k[..., None] * (b * (v - _read(past, k)))[..., None, :]
    return states


def _read(state, key):
    return np.einsum("bnhp,bnh->bnp", state, key)
