"""Local attention on GPUs by PyTorch's FlexAttention, compiled to one Triton kernel that never writes logits to memory.

Lengths and window alone say which blocks of keys a block of queries needs; PyTorch's own search would visit every pair
of a query and a key. Segments and masked steps are compared inside the kernel.
"""

import functools
import importlib.util

import keras
import torch

from keras_griffin.ops.shared.attention_marks import attend_with_marks

#: Queries and keys of a block: FlexAttention's default, which its kernels' own blocks divide.
_BLOCK = 128
#: The fewest channels of Triton's matrix products.
_FEWEST_CHANNELS = 16
#: Bytes of shared memory from which PyTorch's own blocks fit, as on an A100, and that ours need at most, as on GeForce.
_MUCH, _LITTLE = 163 * 1024, 99 * 1024
#: Kernels that one program may have compiled: dtypes, heads and segments, with and without gradients, differ, and so do
#: short and long queries. PyTorch's own limit is 8, and exceeding it an error.
VARIANTS = 256
#: Channels that need them, in float32 or not: a kernel computes as many as the next power of two.
_WIDE = {True: range(65, 257), False: range(129, 257)}
#: The devices, by PyTorch's names, whose kernels for forward and backward are in Triton: not on a Mac.
_DEVICES = ("cuda", "xpu") if importlib.util.find_spec("triton") is not None else ()


def supports(facts):
    """It needs a GPU that Triton supports, a dtype and heads that Triton multiplies, and memory for their blocks."""
    if facts.device != "gpu":
        return "needs a GPU"
    # While Keras infers shapes, its tensors are on no real device.
    device = keras.ops.zeros(()).device
    if device.type not in _DEVICES:
        return "needs Triton, and a GPU that it supports"
    if facts.dtype not in ("float32", "bfloat16", "float16"):
        return "computes in float32, bfloat16 and float16"
    if facts.shape is not None and facts.shape[-1] < _FEWEST_CHANNELS:
        return f"needs heads of at least {_FEWEST_CHANNELS} channels"
    wide, memory = _WIDE[facts.dtype == "float32"], shared_memory_of(device)
    if facts.shape is not None and facts.shape[-1] in wide and 0 < memory < _LITTLE:
        channels = f"{wide[0]} to {wide[-1]} channels in {facts.dtype}"
        return f"needs {_LITTLE // 1024} KiB of shared memory for heads of {channels}; this GPU has {memory // 1024}"
    return None


def local_attention(query, key, value, window, *, segment_ids=None, mask=None):
    """The contract is `keras_griffin.ops.local_attention`; precision of products as set in PyTorch."""
    return attend_with_marks(_attend, _running_max, query, key, value, window, segment_ids, mask)


def _running_max(x):
    return torch.cummax(x, dim=1).values


def _attend(query, key, value, window, ids):
    # Drop keys that are older than every window.
    span = min(key.shape[1], query.shape[1] + window - 1)
    ids = None if ids is None else ids[:, -span:]
    # As tensors, so that one kernel serves all values: Python numbers would be compiled into it.
    bounds = (torch.full((), x, dtype=torch.int32, device=query.device) for x in (window, span - query.shape[1]))
    arguments = (x.transpose(1, 2) for x in (query, key[:, -span:], value[:, -span:]))
    # Inside another compiled function it becomes part of that function.
    run = attend if torch.compiler.is_compiling() else compiled_attend()
    options = options_of(query.dtype, query.shape[-1], shared_memory_of(query.device))
    return run(*arguments, *bounds, ids, options).transpose(1, 2)


@torch.compiler.assume_constant_result
def shared_memory_of(device) -> int:
    """Bytes of shared memory for a program on a GPU; 0 if it isn't NVIDIA's."""
    if device.type != "cuda" or torch.version.hip:
        return 0
    return torch.cuda.get_device_properties(device).shared_memory_per_block_optin


def options_of(dtype, channels, shared_memory):
    """FlexAttention's options for a GPU, with blocks that fit its shared memory; None for PyTorch's own."""
    if channels not in _WIDE[dtype == torch.float32] or not _LITTLE <= shared_memory < _MUCH:
        return None
    if dtype == torch.float32:
        return {"fwd_BLOCK_M": 32, "fwd_BLOCK_N": 16, "fwd_num_stages": 2, "fwd_num_warps": 4}
    return {
        **{"fwd_BLOCK_M": 32, "fwd_BLOCK_N": 64, "fwd_num_stages": 2, "fwd_num_warps": 4},
        **{"bwd_BLOCK_M1": 32, "bwd_BLOCK_N1": 64, "bwd_BLOCK_M2": 64, "bwd_BLOCK_N2": 32},
        **{"bwd_num_stages": 1, "bwd_num_warps": 4},
    }


def attend(query, key, value, window, history, ids, options=None):
    """Attention of `(B, N, T, H)` to `(B, K, S, H)`, with window and history (S - T) as int32 scalars."""
    # Imported here, so that only its users load it.
    from torch.nn.attention.flex_attention import BlockMask, flex_attention

    blocks = blocks_of(query.shape[2], key.shape[2], window, history, ids is not None, query.device)
    lengths = (query.shape[2], key.shape[2])

    def visible(row, head, step, place):
        distance = step + history - place
        near = (distance >= 0) & (distance < window)
        return near if ids is None else near & (ids[row, step + history] == ids[row, place])

    block_mask = BlockMask.from_kv_blocks(*blocks, BLOCK_SIZE=_BLOCK, mask_mod=visible, seq_lengths=lengths)
    return flex_attention(query, key, value, block_mask=block_mask, enable_gqa=True, kernel_options=options)


@functools.cache
def compiled_attend():
    """`attend`, compiled separately, on first use: loading the compiler takes a second."""
    import torch._dynamo

    # The full graph: code that can't be compiled must fail, not fall back to matrices of logits.
    compiled = torch.compile(attend, fullgraph=True)

    def run(*arguments, **options):
        with torch._dynamo.config.patch(recompile_limit=VARIANTS):
            return compiled(*arguments, **options)

    return run


def blocks_of(length, span, window, history, marked, device):
    """How many blocks of keys each block of queries needs, `(1, 1, n)` int32, and which, `(1, 1, n, blocks of keys)`.

    For blocks whose pairs are compared one by one; then, if not `marked`, for blocks that every query sees entirely.
    """
    own = history + _BLOCK * torch.arange(-(-length // _BLOCK), device=device)[:, None]
    key = _BLOCK * torch.arange(-(-span // _BLOCK), device=device)
    last = _BLOCK - 1
    some = (key <= own + last) & (key + last > own - window)
    if marked:
        return _counted(some)
    every = (key + last <= own) & (key > own + last - window)
    return *_counted(some & ~every), *_counted(every)


def _counted(needed):
    """How many of a row's blocks are needed, and all of its blocks with the needed ones first."""
    which = torch.argsort(needed.int(), dim=-1, descending=True, stable=True)
    return needed.sum(dim=-1, dtype=torch.int32)[None, None], which.int()[None, None]
