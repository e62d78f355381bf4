"""Attention of one step to a ring of keys: decoding, without the apparatus that many steps need."""

import keras
import numpy as np
from keras import ops

from keras_griffin.shapes import Tensor


def ring_attention(query: Tensor, keys: Tensor, values: Tensor, place: Tensor, count: Tensor) -> Tensor:
    """Softmax attention of one step to the newest W keys, each of which stands in place n mod W for its step n.

        y = softmax_s(q_s . k_s / sqrt(H)) v_s        over the places s that hold a key

    The keys are rotated by their places. So those written since the ring last began anew, up to `place`, meet the query
    turned by its own place, and the others, from the lap before, the query turned by W more.

    Args:
        query: `(B, 2, N, H)` float: for the keys of this lap, and for those of the lap before.
        keys: `(B, W, K, H)`, with K dividing N; the step's own is among them.
        values: `(B, W, K, H)`.
        place: `(B,)` int32: the place of the newest key.
        count: `(B,)` int32, at least 1: how many steps there have been; from W on all places hold a key.

    Returns:
        `(B, 1, N, H)`, dtype of `values`.

    Precision: logits and softmax in float32, in float64 where `query` is.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3.
    """
    batch_size, laps, num_heads, channels = ops.shape(query)
    num_key_heads = keys.shape[2]
    group = num_heads // num_key_heads
    if keys.shape[1] == 1:
        # Its weight is 1; Keras warns of a softmax over one element.
        return ops.repeat(values, group, axis=2)
    # Query heads of one key head together: (B, K, 2 N / K, H), and keys (B, K, W, H).
    query = ops.reshape(ops.multiply(query, channels**-0.5), (batch_size, laps, num_key_heads, group, channels))
    query = ops.reshape(ops.moveaxis(query, 2, 1), (batch_size, num_key_heads, laps * group, channels))
    keys, values = ops.moveaxis(keys, 2, 1), ops.moveaxis(values, 2, 1)
    logits = ops.matmul(query, ops.swapaxes(keys, -1, -2))
    logits = ops.cast(logits, keras.backend.result_type(logits.dtype, "float32"))
    places = ops.arange(keys.shape[2], dtype="int32")
    this_lap, holds = ((places < bound[:, None])[:, None, None] for bound in (place + 1, count))
    logits = ops.where(holds, ops.where(this_lap, logits[:, :, :group], logits[:, :, group:]), -np.inf)
    weights = ops.cast(ops.softmax(logits, axis=-1), values.dtype)
    return ops.reshape(ops.matmul(weights, values), (batch_size, 1, num_heads, channels))


def write_place(ring: Tensor, place: Tensor, step: Tensor) -> Tensor:
    """The ring `(B, W, ...)` with one step `(B, 1, ...)` of each row in its place `(B,)` int32."""
    if keras.backend.backend() == "numpy":
        # Keras would write into the ring itself.
        ring = ops.copy(ring)
    rows = ops.arange(ops.shape(ring)[0], dtype="int32")
    return ops.scatter_update(ring, ops.stack([rows, place], axis=1), step[:, 0])
