"""Sparse attention in two parts of dense blocks, in `keras.ops`: every backend, every device.

Each key that a query sees is in one part: near, in a window of l steps, or far, by columns of every l-th step or by the
ends of earlier blocks. The parts are joined by the logarithms of the sums of their weights.
"""

import keras
from keras import ops

from keras_griffin.ops.shared.attention import Seen, attention_in_turn
from keras_griffin.ops.shared.attention_marks import LONGEST, finite_only, nan_unless, past_masked_steps
from keras_griffin.ops.shared.attention_window import attention_in_window
from keras_griffin.ops.shared.compaction import real_steps_first, take_steps
from keras_griffin.ops.shared.padding import padded_steps
from keras_griffin.ops.sparse_attention.places import places_of


def supports(facts):
    """It serves every call."""
    return None


def sparse_attention(query, key, value, stride, *, pattern, summary_steps, segment_ids=None, mask=None):
    """The contract is `keras_griffin.ops.sparse_attention`."""

    def attend(query, key, value, segment_ids, mask):
        query, key, value, whole_query, whole_key = finite_only(query, key, value)
        key = ops.multiply(key, query.shape[-1] ** -0.5)
        of_keys = key, value, whole_key, segment_ids, mask
        if pattern == "strided":
            near = attention_in_window(query, *of_keys, stride, with_log_sum=True)
            far = _in_columns(query, *of_keys, stride)
        else:
            places = places_of(ops.shape(key)[1], stride, segment_ids, mask)
            near = attention_in_window(query, key, value, whole_key, places.block, mask, stride, with_log_sum=True)
            far = _to_summaries(query, *of_keys, places, stride, summary_steps)
        whole = ops.logical_and(near.whole, far.whole)
        return nan_unless(_joined(near, far), ops.logical_and(whole_query, whole))

    return past_masked_steps(attend, query, key, value, segment_ids, mask)


def _in_columns(query, key, value, whole_key, segment_ids, mask, stride):
    """Attention to the steps l, 2 l, ... before a query, which are the earlier ones of its column."""
    batch_size, length = ops.shape(query)[:2]
    span = ops.shape(key)[1]

    def columns(x):
        """`(B, S, ...)` to `(B l, S / l, ...)`; steps that are not there come first, so that the ends agree."""
        rows, steps, *rest = ops.shape(x)
        x = ops.reshape(padded_steps(x, -steps % stride), (rows, -(-steps // stride), stride, *rest))
        x = ops.transpose(x, (0, 2, 1, *range(3, len(x.shape))))
        return ops.reshape(x, (rows * stride, -(-steps // stride), *rest))

    present = columns(ops.ones((batch_size, span), "bool") if mask is None else mask)
    steps = ops.expand_dims(ops.arange(ops.shape(present)[1], dtype="int32"), 0)
    history = ops.shape(present)[1] - -(-length // stride)
    ids = None if segment_ids is None else columns(segment_ids)
    own_ids = None if ids is None else ids[:, history:]
    seen = Seen(steps[:, history:] - 1, ops.where(present, steps, LONGEST), own_ids, ids)
    key, value, whole_key = (columns(x) for x in (key, value, whole_key))
    attended = attention_in_turn(
        columns(query), key, value, whole_key, seen, lambda queries: history + queries, with_log_sum=True
    )

    def back(x):
        _, steps, *rest = ops.shape(x)
        x = ops.reshape(x, (batch_size, stride, steps, *rest))
        x = ops.transpose(x, (0, 2, 1, *range(3, len(x.shape))))
        return ops.reshape(x, (batch_size, steps * stride, *rest))[:, steps * stride - length :]

    return type(attended)(*map(back, attended))


def _to_summaries(query, key, value, whole_key, segment_ids, mask, places, stride, summary_steps):
    """Attention to the last steps of the blocks before a query's own."""
    span = ops.shape(key)[1]
    history = span - ops.shape(query)[1]

    def summaries_of(steps):
        """How many summaries there are at most among so many steps."""
        return -(-steps * summary_steps // stride)

    is_summary = places.is_summary(stride, summary_steps)
    if mask is not None:
        is_summary = ops.logical_and(is_summary, mask)
    sources = real_steps_first(is_summary)[0][:, : summaries_of(span)]
    index = ops.where(take_steps(is_summary, sources), sources, LONGEST)
    sources = ops.broadcast_to(sources, (ops.shape(key)[0], ops.shape(sources)[1]))
    ids = None if segment_ids is None else take_steps(segment_ids, sources)
    own_ids = None if ids is None else segment_ids[:, history:]
    seen = Seen(places.block[:, history:] - 1, index, own_ids, ids)
    key, value, whole_key = (take_steps(x, sources) for x in (key, value, whole_key))
    return attention_in_turn(
        query, key, value, whole_key, seen, lambda queries: summaries_of(history + queries), with_log_sum=True
    )


def _joined(near, far):
    """The outputs of both parts together: each weighs as much as the sum of its weights."""
    # Not Keras's `maximum`, which is of float32 on PyTorch.
    largest = ops.stop_gradient(ops.where(near.log_sum > far.log_sum, near.log_sum, far.log_sum))
    weights = [ops.expand_dims(ops.exp(part.log_sum - largest), -1) for part in (near, far)]
    precise = keras.backend.standardize_dtype(largest.dtype)
    both = sum(weight * ops.cast(part.outputs, precise) for weight, part in zip(weights, (near, far), strict=True))
    return ops.cast(both / (weights[0] + weights[1]), near.outputs.dtype)
