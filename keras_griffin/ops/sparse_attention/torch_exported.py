"""In programs that PyTorch exports: all queries and keys at once, since a free length can't be cut into columns."""

from keras import ops

from keras_griffin.ops.shared.attention import softmax_attention
from keras_griffin.ops.shared.attention_marks import finite_only, nan_unless, past_masked_steps
from keras_griffin.ops.sparse_attention.places import places_of


def supports(facts) -> str | None:
    """Everything; only exported programs choose it."""
    return None


def sparse_attention(query, key, value, stride, *, pattern, summary_steps, segment_ids=None, mask=None):
    """The contract is `keras_griffin.ops.sparse_attention`."""

    def attend(query, key, value, segment_ids, mask):
        query, key, value, whole_query, whole_key = finite_only(query, key, value)
        key = ops.multiply(key, query.shape[-1] ** -0.5)
        span = ops.shape(key)[1]
        own = slice(span - ops.shape(query)[1], None)
        places, steps = places_of(span, stride, segment_ids, mask), ops.expand_dims(ops.arange(span, dtype="int32"), 0)

        def same(x):
            return ops.expand_dims(x[:, own], 2) == ops.expand_dims(x, 1)

        distance = ops.expand_dims(steps[:, own], 2) - ops.expand_dims(steps, 1)
        if pattern == "strided":
            visible = ops.logical_or(distance < stride, same(places.column))
        else:
            is_summary = ops.expand_dims(places.is_summary(stride, summary_steps), 1)
            visible = ops.logical_or(same(places.block), is_summary)
        visible = ops.logical_and(visible, distance >= 0)
        if segment_ids is not None:
            visible = ops.logical_and(visible, same(segment_ids))
        if mask is not None:
            visible = ops.logical_and(visible, ops.expand_dims(mask, 1))
        blocks = (ops.expand_dims(x, 1) for x in (query, key, value, whole_key, visible))
        outputs, whole, _ = softmax_attention(*blocks)
        return nan_unless(outputs[:, 0], ops.logical_and(whole_query, whole[:, 0]))

    return past_masked_steps(attend, query, key, value, segment_ids, mask)
