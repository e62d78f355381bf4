"""Local attention by blocks of queries, in `keras.ops`: every backend, every device."""

from keras import ops

from keras_griffin.ops.shared.attention_marks import finite_only, masked, nan_unless, past_masked_steps
from keras_griffin.ops.shared.attention_window import are_few, attention_in_window


def supports(facts):
    """It serves every call."""
    return None


def local_attention(query, key, value, window, *, segment_ids=None, mask=None):
    """The contract is `keras_griffin.ops.local_attention`."""

    def attend(query, key, value, segment_ids, mask):
        query, key, value, whole_query, whole_key = finite_only(query, key, value)
        key = ops.multiply(key, query.shape[-1] ** -0.5)
        outputs, whole, _ = attention_in_window(query, key, value, whole_key, segment_ids, mask, window)
        return nan_unless(outputs, ops.logical_and(whole_query, whole))

    if mask is None or not are_few(key.shape[1], window):
        return past_masked_steps(attend, query, key, value, segment_ids, mask)
    return masked(attend(query, key, value, segment_ids, mask), mask[:, ops.shape(key)[1] - ops.shape(query)[1] :])
