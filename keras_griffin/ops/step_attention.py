"""Attention of a single step to cached keys, for decoding."""

import keras
import numpy as np
from keras import ops

from keras_griffin.shapes import Tensor


def step_attention(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """Softmax attention of one step to the keys that it sees.

        y = softmax_s(q . k_s / sqrt(H)) v_s        over the visible s

    `query`: (B, 1, N, H); `keys`, `values`: (B, S, K, H), K dividing N; `visible`: (B, S) bool, one or more in each
    row. The result is (B, 1, N, H) in the dtype of `values`; logits and softmax are at least float32.

    Reference: Shazeer 2019 (arXiv 1911.02150).
    """
    if keys.shape[1] == 1:
        return _only_value(query, values)
    logits = ops.where(ops.expand_dims(visible, (1, 2)), _logits(query, keys)[:, :, 0], -np.inf)
    return _weighted(logits, values)


def ring_attention(query: Tensor, keys: Tensor, values: Tensor, place: Tensor, count: Tensor) -> Tensor:
    """Softmax attention of one step to the newest W keys, where the key of step n is in place n mod W.

        y = softmax_s(q_s . k_s / sqrt(H)) v_s        over the places s that hold a key

    The keys are rotated by their places. So the keys of this lap, up to `place`, meet the query rotated by its own
    place, and the others, from the previous lap, meet the query rotated by W more.

    `query`: (B, 2, N, H), for the keys of this lap and of the previous lap; `keys`, `values`: (B, W, K, H), with the
    step's own; `place`: (B,) int32, of the newest key; `count`: (B,) int32, at least 1, the steps so far, of which the
    last W are held. The result is (B, 1, N, H) in the dtype of `values`; logits and softmax are at least float32.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3.
    """
    if keys.shape[1] == 1:
        return _only_value(query, values)
    logits = _logits(query, keys)
    places = ops.arange(keys.shape[1], dtype="int32")
    this_lap, holds = ((places < bound[:, None])[:, None, None] for bound in (place + 1, count))
    return _weighted(ops.where(holds, ops.where(this_lap, logits[:, :, 0], logits[:, :, 1]), -np.inf), values)


def write_place(ring: Tensor, place: Tensor, step: Tensor) -> Tensor:
    """The ring `(B, W, ...)` with one step `(B, 1, ...)` of each row written to its place `(B,)` int32."""
    if keras.backend.backend() == "numpy":
        # Keras would write into the ring itself.
        ring = ops.copy(ring)
    rows = ops.arange(ops.shape(ring)[0], dtype="int32")
    return ops.scatter_update(ring, ops.stack([rows, place], axis=1), step[:, 0])


def _logits(query, keys):
    """Scaled products `(B, K, Q, N / K, S)` of queries `(B, Q, N, H)` and keys `(B, S, K, H)`, at least float32."""
    batch_size, queries, num_heads, channels = ops.shape(query)
    num_key_heads = keys.shape[2]
    group = num_heads // num_key_heads
    # The queries of one key head form one matrix.
    query = ops.reshape(ops.multiply(query, channels**-0.5), (batch_size, queries, num_key_heads, group, channels))
    query = ops.reshape(ops.swapaxes(query, 1, 2), (batch_size, num_key_heads, queries * group, channels))
    keys = ops.swapaxes(keys, 1, 2)
    if keras.backend.backend() == "jax":
        # The same product: XLA on a CPU is up to five times as fast with the keys, which are many, on the left.
        logits = ops.swapaxes(ops.matmul(keys, ops.swapaxes(query, -1, -2)), -1, -2)
    else:
        logits = ops.matmul(query, ops.swapaxes(keys, -1, -2))
    logits = ops.cast(logits, keras.backend.result_type(logits.dtype, "float32"))
    return ops.reshape(logits, (batch_size, num_key_heads, queries, group, -1))


def _weighted(logits, values):
    """Values `(B, S, K, H)` weighted by the softmax of logits `(B, K, N / K, S)`: `(B, 1, N, H)`."""
    weights = ops.cast(ops.softmax(logits, axis=-1), values.dtype)
    outputs = ops.matmul(weights, ops.swapaxes(values, 1, 2))
    batch_size, num_key_heads, group, channels = ops.shape(outputs)
    return ops.reshape(outputs, (batch_size, 1, num_key_heads * group, channels))


def _only_value(query, values):
    """The result for a single key: its weight is 1. Keras warns about a softmax over one element."""
    return ops.repeat(values, query.shape[2] // values.shape[2], axis=2)
