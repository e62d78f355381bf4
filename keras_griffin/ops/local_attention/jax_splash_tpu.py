"""Local attention on TPUs by JAX's Splash kernels, which never write logits to memory, forward or backward.

Splash visits only the blocks of keys that the windows of a block of queries reach: O(T W). Segments and masked steps
cost one more comparison in it. Lengths are padded to whole blocks with keys that no query sees, because they come after
it.
"""

import functools

import jax
import jax.numpy as jnp
import keras
from jax.experimental.pallas.ops.tpu import splash_attention as splash

from keras_griffin.ops.local_attention.marks import attend_with_marks

#: A TPU's vector lanes; blocks are multiples of them.
_LANES = 128


def supports(facts):
    """It needs a TPU, a dtype of its matrix units, and known sizes."""
    if facts.device != "tpu":
        return "needs a TPU"
    if facts.dtype not in ("float32", "bfloat16"):
        return "computes in float32 and bfloat16"
    if not all(isinstance(size, int) for size in facts.shape or ()):
        return "needs known sizes"
    if keras.distribution.distribution() is not None:
        return "can't be divided among devices by XLA"
    return None


def local_attention(query, key, value, window, *, segment_ids=None, mask=None):
    """The contract is `keras_griffin.ops.local_attention`; precision of products as set in JAX."""
    running_max = functools.partial(jax.lax.cummax, axis=1)
    return attend_with_marks(_attend, running_max, query, key, value, window, segment_ids, mask)


def block_length(window: int, channels: int) -> int:
    """The queries, and the keys, of a block: half a window in whole lanes, or less if wide heads need the memory."""
    return _LANES * max(min(window // (2 * _LANES), 4, 1024 // channels), 1)


def _attend(query, key, value, window, ids):
    length, num_heads, channels = query.shape[1:]
    # Drop keys that are older than every window.
    span = min(key.shape[1], length + window - 1)
    key, value = key[:, -span:], value[:, -span:]
    block = block_length(window, channels)
    queries = -(-length // block) * block
    keys = -(-(span + queries - length) // block) * block

    band = splash.LocalMask((queries, keys), (window - 1, 0), span - length)
    mask = splash.MultiHeadMask([band] * num_heads)
    kernel = splash.make_splash_mha_single_device(mask, block_sizes=_block_sizes(block))
    # (B, N, T, H). The keys are scaled, as the smallest array.
    arguments = [(query, queries), (key * channels**-0.5, keys), (value, keys)]
    arguments = [jnp.swapaxes(_filled(x, size), 1, 2) for x, size in arguments]
    if ids is not None:
        arguments.append(splash.SegmentIds(_filled(ids[:, -length:], queries), _filled(ids[:, -span:], keys)))
    return jnp.swapaxes(jax.vmap(kernel)(*arguments), 1, 2)[:, :length]


def _block_sizes(block):
    names = ("block_q", "block_kv", "block_q_dkv", "block_kv_dkv", "block_q_dq", "block_kv_dq")
    return splash.BlockSizes(**dict.fromkeys(names, block))


def _filled(x, size):
    """`x` padded with zeros after its steps, to `size` steps."""
    return jnp.pad(x, [(0, 0), (0, size - x.shape[1])] + [(0, 0)] * (x.ndim - 2))
