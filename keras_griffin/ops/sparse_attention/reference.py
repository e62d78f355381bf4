"""The definition of sparse attention, one query at a time, and its gradient: NumPy, float64."""

import numpy as np

from keras_griffin.ops.local_attention import reference


def sparse_attention(query, key, value, stride, *, pattern, summary_steps, segment_ids=None, mask=None):
    """The outputs `(B, T, N, H)`, float64; the contract is `keras_griffin.ops.sparse_attention`."""
    visible = _visible(query.shape[1], key.shape[:2], stride, pattern, summary_steps, segment_ids, mask)
    return reference.attention(query, key, value, visible)


def sparse_attention_gradient(
    cotangent, query, key, value, stride, *, pattern, summary_steps, segment_ids=None, mask=None
):
    """The gradients of `sum(cotangent * outputs)` for query, key and value, float64."""
    visible = _visible(query.shape[1], key.shape[:2], stride, pattern, summary_steps, segment_ids, mask)
    return reference.attention_gradient(cotangent, query, key, value, visible)


def _visible(length, keys_shape, stride, pattern, summary_steps, segment_ids, mask):
    """For each unmasked query: its row, its step, and the indices of the keys that it sees."""
    # All keys so far of the query's document, the own one last.
    for row, step, document in reference.visible(length, keys_shape, keys_shape[1], segment_ids, mask):
        j = np.arange(len(document))
        i = j[-1]
        if pattern == "strided":
            sees = (i - j < stride) | ((i - j) % stride == 0)
        else:
            sees = (i // stride == j // stride) | (j % stride >= stride - summary_steps)
        yield row, step, document[sees]
