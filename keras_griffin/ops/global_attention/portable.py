"""Global attention by blocks of queries, in `keras.ops`: every backend, every device.

A block of queries attends to the keys up to its end, and is made again for the gradient: time O(T S), memory O(S) for a
block of queries. Where the length is unknown while the call is traced, on TensorFlow, all queries are one block.
"""

from keras import ops

from keras_griffin.ops.shared.attention import Seen, attention_in_turn
from keras_griffin.ops.shared.attention_marks import LONGEST, finite_only, masked, nan_unless


def supports(facts):
    """It serves every call."""
    return None


def global_attention(query, key, value, *, segment_ids=None, mask=None):
    """The contract is `keras_griffin.ops.global_attention`."""
    query, key, value, whole_query, whole_key = finite_only(query, key, value)
    history = ops.shape(key)[1] - ops.shape(query)[1]
    places = ops.expand_dims(ops.arange(ops.shape(key)[1], dtype="int32"), 0)
    newest, own_ids = places[:, history:], None if segment_ids is None else segment_ids[:, history:]
    if mask is not None:
        places = ops.where(mask, places, LONGEST)
    key = ops.multiply(key, query.shape[-1] ** -0.5)
    seen = Seen(newest, places, own_ids, segment_ids)
    outputs, whole, _ = attention_in_turn(query, key, value, whole_key, seen, lambda queries: history + queries)
    outputs = nan_unless(outputs, ops.logical_and(whole_query, whole))
    return outputs if mask is None else masked(outputs, mask[:, history:])
