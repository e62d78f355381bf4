"""The definition of `gated_linear_attention` and of its gradient: NumPy in float64, one step after the other.

Arrays are `query, key (B, T, G, H)`, `value (B, T, N, P)`, `log_decay (B, T, N, 1 or H)`, `angles (B, T, G, H / 2)`.
"""

import numpy as np

from keras_griffin.ops.linear_scan import reference as scan_reference


def definition(query, key, value, log_decay, angles=None, initial_state=None, *, reset=None, mask=None):
    """Every output and the last state."""
    sequences, forgotten, shown = _prepared((query, key, value, log_decay, angles), reset, mask)
    states = _states(sequences, initial_state, forgotten)
    return shown(np.einsum("btnh,tbnhp->btnp", sequences[0], states[1:])), states[-1]


def gradient(outputs_gradient, final_gradient, query, key, value, log_decay, angles=None, initial_state=None, **marks):
    """The gradients for all arrays that are given, from those for outputs and final state.

    With gy_t the gradient for o_t, and G_t for S_t, the last of which includes the final state's,

        G_t = q_t gy_t^T + R_{t+1}^T diag(exp(g_{t+1})) G_{t+1}
        dq_t = S_t gy_t     dk_t = G_t v_t     dv_t = G_t^T k_t
        dg_t = sum_p G_t (exp(g_t) R_t S_{t-1})     dw_t = sum_p G_t (exp(g_t) R'_t S_{t-1})

    A reset at step t makes S_{t-1} there, and the gradient passed back from G_t, zero even where they are not finite.
    """
    given = query, key, value, log_decay, angles
    sequences, forgotten, shown = _prepared(given, marks.get("reset"), marks.get("mask"))
    q, k, v, decay, turn = sequences
    states = _states(sequences, initial_state, forgotten)
    into_outputs, into_state = shown(np.asarray(outputs_gradient)), np.asarray(final_gradient)
    into = [np.zeros_like(q if x is None else x) for x in sequences]
    for t in reversed(range(value.shape[1])):
        into_state = into_state + q[:, t, ..., None] * into_outputs[:, t, :, None]
        past = np.where(forgotten[:, t], 0.0, states[t])
        decayed = np.exp(decay[:, t])[..., None] * _turned(past, turn, t)
        into[0][:, t] = np.einsum("bnhp,bnp->bnh", states[t + 1], into_outputs[:, t])
        into[1][:, t] = np.einsum("bnhp,bnp->bnh", into_state, v[:, t])
        into[2][:, t] = np.einsum("bnhp,bnh->bnp", into_state, k[:, t])
        products = np.sum(into_state * decayed, -1)
        into[3][:, t] = products if decay.shape[-1] > 1 else products.sum(-1, keepdims=True)
        if turn is not None:
            real, imaginary = np.split(decayed, 2, axis=2)
            first, second = np.split(into_state, 2, axis=2)
            into[4][:, t] = np.sum(second * real - first * imaginary, -1)
        into_state = _turned(np.exp(decay[:, t])[..., None] * into_state, turn, t, -1.0)
        into_state = np.where(forgotten[:, t], 0.0, into_state)
    pairs = zip(into, given, strict=True)
    into = [_summed(shown(x), like.shape) for x, like in pairs if like is not None]
    return *into, *([] if initial_state is None else [into_state])


def gated_linear_attention(query, key, value, log_decay, angles, initial_state, marks):
    """The definition, for tensors; see the package."""
    arrays = (x if x is None else np.asarray(x) for x in (query, key, value, log_decay, angles, initial_state))
    return definition(*arrays, **scan_reference.flags(marks))


def _prepared(sequences, reset, mask):
    """In double precision and for every head, zeros at masked steps; where the past is forgotten; and what hides."""
    num_heads = sequences[2].shape[2]

    def shown(x):
        return x if mask is None else np.where(np.asarray(mask)[..., None, None], x, 0.0)

    heads = [
        x if x is None else shown(np.repeat(np.asarray(x, "float64"), num_heads // x.shape[2], axis=2))
        for x in sequences
    ]
    forgotten = np.zeros(sequences[2].shape[:2], bool) if reset is None else np.array(reset)
    forgotten = forgotten if mask is None else forgotten & mask
    return heads, forgotten[..., None, None, None], shown


def _summed(x, shape):
    """The sum over the heads that share a head."""
    return x.reshape(*shape[:3], x.shape[2] // shape[2], *shape[3:]).sum(3)


def _turned(state, angles, t, sign=1.0):
    if angles is None:
        return state
    real, imaginary = np.split(state, 2, axis=2)
    turned = (real + 1j * imaginary) * np.exp(1j * sign * angles[:, t])[..., None]
    return np.concatenate([turned.real, turned.imag], axis=2)


def _states(sequences, initial_state, forgotten):
    """S_0 and every state, `(1 + T, B, N, H, P)`."""
    _, key, value, decay, angles = sequences
    batch_size, length, num_heads, channels = key.shape
    states = np.zeros((1 + length, batch_size, num_heads, channels, value.shape[-1]))
    if initial_state is not None:
        states[0] = initial_state
    for t in range(length):
        past = np.exp(decay[:, t])[..., None] * _turned(np.where(forgotten[:, t], 0.0, states[t]), angles, t)
        states[t + 1] = past + key[:, t, ..., None] * value[:, t, :, None]
    return states
