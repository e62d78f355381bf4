"""Global attention on GPUs by FlexAttention: a window of all keys."""

from keras_griffin.ops.local_attention import torch_flex as kernel

supports = kernel.supports


def global_attention(query, key, value, *, segment_ids=None, mask=None):
    """The contract is `keras_griffin.ops.global_attention`."""
    return kernel.local_attention(query, key, value, key.shape[1], segment_ids=segment_ids, mask=mask)
