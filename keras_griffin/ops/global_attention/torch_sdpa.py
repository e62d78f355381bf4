"""Global attention on CPUs and GPUs by PyTorch's own kernels, which never write the weights to memory.

They have no segments and no masks, and history only as a mask: such calls go through the blocks of `portable.py`.
"""

import torch

from keras_griffin.ops.global_attention import portable
from keras_griffin.ops.shared.attention_marks import finite_only, nan_unless


def supports(facts):
    """It serves every call on a CPU or a GPU."""
    return None if facts.device in ("cpu", "gpu") else "needs a CPU or a GPU"


def global_attention(query, key, value, *, segment_ids=None, mask=None):
    """The contract is `keras_griffin.ops.global_attention`; precision of products as set in PyTorch."""
    if segment_ids is not None or mask is not None or query.shape[1] != key.shape[1]:
        return portable.global_attention(query, key, value, segment_ids=segment_ids, mask=mask)
    query, key, value, whole_query, whole_key = finite_only(query, key, value)
    group = query.shape[2] // key.shape[2]
    heads = (x.repeat_interleave(group, dim=2) if group > 1 else x for x in (key, value))
    arguments = (x.transpose(1, 2) for x in (query, *heads))
    outputs = torch.nn.functional.scaled_dot_product_attention(*arguments, is_causal=True).transpose(1, 2)
    lost = torch.cumsum(~whole_key, dim=1) > 0
    return nan_unless(outputs, whole_query & ~lost)
