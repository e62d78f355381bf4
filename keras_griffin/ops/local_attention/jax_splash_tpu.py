"""Local attention on TPUs by JAX's Splash kernels, which never write logits to memory, forward or backward.

Splash visits only the blocks of keys that the windows of a block of queries reach: O(T W). Lengths are padded to whole
blocks with keys that no query sees, because they come after it.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash

from keras_griffin.ops.shared.attention_marks import attend_with_marks
from keras_griffin.ops.shared.jax_division import active_division, on_each_device

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
    return None


def local_attention(query, key, value, window, *, segment_ids=None, mask=None):
    """The contract is `keras_griffin.ops.local_attention`; precision of products as set in JAX."""
    running_max = functools.partial(jax.lax.cummax, axis=1)
    return attend_with_marks(_attend, running_max, query, key, value, window, segment_ids, mask)


def block_length(window: int, channels: int) -> int:
    """The queries, and the keys, of a block: half a window in whole lanes, or less if wide heads need the memory."""
    return _LANES * max(min(window // (2 * _LANES), 4, 1024 // channels), 1)


def _attend(query, key, value, window, ids):
    division = active_division()
    if division is None:
        return _attend_on_one(query, key, value, window, ids)
    return _attend_divided(query, key, value, window, ids, division)


# Compiled once for each shape, even if the caller is not compiled.
@functools.partial(jax.jit, static_argnums=(3, 5))
def _attend_divided(query, key, value, window, ids, division):
    """Each device attends with its own rows and query heads, and with the key heads that these share."""
    parts = division.parts_of_channels(query.shape[2])
    copies = parts // math.gcd(parts, key.shape[2])
    key, value = (jnp.repeat(x, copies, axis=2) for x in (key, value))

    def attend(query, key, value, ids):
        return _attend_on_one(query, key, value, window, ids)

    heads = "b-c-"
    sizes, axes = (query.shape[0], query.shape[2]), (heads, heads, heads, "b-")
    return on_each_device(attend, division, sizes, (query, key, value, ids), axes, heads)


def _attend_on_one(query, key, value, window, ids):
    length, num_heads, channels = query.shape[1:]
    # Drop keys that are older than every window.
    span = min(key.shape[1], length + window - 1)
    key, value = key[:, -span:], value[:, -span:]
    block = block_length(window, channels)
    queries = -(-length // block) * block
    keys = -(-(span + queries - length) // block) * block

    band = splash.LocalMask((queries, keys), (window - 1, 0), span - length)
    mask = splash.MultiHeadMask([band] * num_heads)
    # (B, N, T, H). The keys are scaled, as the smallest array.
    arguments = [(query, queries), (key * channels**-0.5, keys), (value, keys)]
    arguments = [jnp.swapaxes(_filled(x, size), 1, 2) for x, size in arguments]
    if ids is not None:
        ids = splash.SegmentIds(_filled(ids[:, -length:], queries), _filled(ids[:, -span:], keys))
    return jnp.swapaxes(_splash(mask, block, *arguments, ids), 1, 2)[:, :length]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _splash(mask, block, *arguments):
    """Splash's kernels, which with `jax_enable_x64` would mix indices of 32 and 64 bits."""
    with jax.enable_x64(False):
        return _kernel(mask, block)(*arguments)


def _splash_forward(mask, block, *arguments):
    with jax.enable_x64(False):
        return jax.vjp(_kernel(mask, block), *arguments)


def _splash_backward(mask, block, pull_back, gradient):
    with jax.enable_x64(False):
        return pull_back(gradient)


_splash.defvjp(_splash_forward, _splash_backward)


def _kernel(mask, block):
    names = ("block_q", "block_kv", "block_q_dkv", "block_kv_dkv", "block_q_dq", "block_kv_dq")
    sizes = splash.BlockSizes(**dict.fromkeys(names, block))
    return jax.vmap(splash.make_splash_mha_single_device(mask, block_sizes=sizes))


def _filled(x, size):
    """`x` padded with zeros after its steps, to `size` steps."""
    return jnp.pad(x, [(0, 0), (0, size - x.shape[1])] + [(0, 0)] * (x.ndim - 2))
