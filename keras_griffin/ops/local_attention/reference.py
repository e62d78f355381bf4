"""The definition of local attention, one query at a time, and its gradient in closed form: NumPy, float64."""

import numpy as np


def local_attention(query, key, value, window, *, segment_ids=None, mask=None):
    """The outputs `(B, T, N, H)`, float64; the contract is `keras_griffin.ops.local_attention`."""
    return attention(query, key, value, visible(query.shape[1], key.shape[:2], window, segment_ids, mask))


def local_attention_gradient(cotangent, query, key, value, window, *, segment_ids=None, mask=None):
    """The gradients of `sum(cotangent * outputs)` for query, key and value, float64."""
    seen = visible(query.shape[1], key.shape[:2], window, segment_ids, mask)
    return attention_gradient(cotangent, query, key, value, seen)


def attention(query, key, value, visible):
    """The outputs of queries that see what `visible` yields: rows, steps, and indices of keys; zero for others."""
    query, key, value = (np.asarray(x, "float64") for x in (query, key, value))
    outputs = np.zeros_like(query)
    for row, step, seen in visible:
        weights = _weights(query[row, step], key[row, seen])
        outputs[row, step] = np.einsum("kgs,skh->kgh", weights, value[row, seen]).reshape(query.shape[2:])
    return outputs


def attention_gradient(cotangent, query, key, value, visible):
    """The gradients of `sum(cotangent * attention(query, key, value, visible))` for query, key and value.

    dv_s = sum_t p_ts dy_t        dl_ts = p_ts (dy_t . v_s - dy_t . y_t)
    dq_t = sum_s dl_ts k_s / sqrt(H)        dk_s = sum_t dl_ts q_t / sqrt(H)
    """
    cotangent, query, key, value = (np.asarray(x, "float64") for x in (cotangent, query, key, value))
    d_query, d_key, d_value = np.zeros_like(query), np.zeros_like(key), np.zeros_like(value)
    scale = query.shape[-1] ** -0.5
    for row, step, seen in visible:
        weights = _weights(query[row, step], key[row, seen])
        d_output = cotangent[row, step].reshape(*weights.shape[:2], -1)
        d_weights = np.einsum("kgh,skh->kgs", d_output, value[row, seen])
        d_logits = scale * weights * (d_weights - np.sum(weights * d_weights, axis=-1, keepdims=True))
        d_value[row, seen] += np.einsum("kgs,kgh->skh", weights, d_output)
        d_query[row, step] = np.einsum("kgs,skh->kgh", d_logits, key[row, seen]).reshape(query.shape[2:])
        d_key[row, seen] += np.einsum("kgs,kgh->skh", d_logits, query[row, step].reshape(d_output.shape))
    return d_query, d_key, d_value


def visible(length, keys_shape, window, segment_ids, mask):
    """For each unmasked query: its row, its step, and the indices of the keys that it sees."""
    segment_ids = np.zeros(keys_shape, int) if segment_ids is None else np.asarray(segment_ids)
    mask = np.ones(keys_shape, bool) if mask is None else np.asarray(mask)
    rows, span = keys_shape
    for row in range(rows):
        for step in range(length):
            own = span - length + step
            if mask[row, own]:
                newest = np.flatnonzero(mask[row, : own + 1])[-window:]
                yield row, step, newest[segment_ids[row, newest] == segment_ids[row, own]]


def _weights(query, key):
    """Softmax weights `(K, N / K, S)` of one query's heads `(N, H)` over the keys `(S, K, H)`."""
    query = query.reshape(key.shape[1], -1, key.shape[2])
    logits = np.einsum("kgh,skh->kgs", query, key) * query.shape[-1] ** -0.5
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
