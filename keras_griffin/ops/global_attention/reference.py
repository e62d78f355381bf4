"""The definition of global attention, a window of all keys, and its gradient: NumPy, float64."""

from keras_griffin.ops.local_attention import reference


def global_attention(query, key, value, *, segment_ids=None, mask=None):
    """The outputs `(B, T, N, H)`, float64; the contract is `keras_griffin.ops.global_attention`."""
    return reference.local_attention(query, key, value, key.shape[1], segment_ids=segment_ids, mask=mask)


def global_attention_gradient(cotangent, query, key, value, *, segment_ids=None, mask=None):
    """The gradients of `sum(cotangent * outputs)` for query, key and value, float64."""
    marks = {"segment_ids": segment_ids, "mask": mask}
    return reference.local_attention_gradient(cotangent, query, key, value, key.shape[1], **marks)
