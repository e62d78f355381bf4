"""The sum of few taps on JAX, with a gradient of its own.

By itself XLA on a CPU sums each tap's gradient over all steps separately, and keeps a copy of the inputs for each.
"""

import jax
from jax import numpy as jnp

from keras_griffin.ops.shared.jax_division import varying_with
from keras_griffin.shapes import Tensor


def sum_of_few_taps(history: Tensor, kernel: Tensor) -> Tensor:
    """y_t = sum_s kernel_s history_{t + s}, `(B, T, D)` from `(B, K - 1 + T, D)` and `(K, D)`."""
    _, kernel = varying_with(history, (), kernel)
    return _with_gradient(history, kernel)


def _sum(history, kernel):
    taps = kernel.shape[0]
    return sum(history[:, tap : tap - taps + 1 or None] * kernel[tap] for tap in range(taps))


# The two rules are of JAX's own operations, which have every further derivative; alone, it has no forward mode.
_with_gradient = jax.custom_vjp(_sum)


def _forward(history, kernel):
    return _sum(history, kernel), (history, kernel)


def _backward(kept, gradient):
    history, kernel = kept
    taps = kernel.shape[0]
    padded = jnp.pad(gradient, ((0, 0), (taps - 1, taps - 1), (0, 0)))
    return _sum(padded, kernel[::-1]), _for_kernel(history, gradient, taps)


def _for_kernel(history, gradient, taps):
    """sum_{b, t} gradient_t history_{t + s} as the diagonals of a product of blocks, K steps by 2 K of the history."""
    batch_size, length, width = gradient.shape
    blocks = -(-length // taps)
    padding = blocks * taps - length
    gradient = jnp.pad(gradient, ((0, 0), (0, padding), (0, 0))).reshape(batch_size, blocks, taps, width)
    history = jnp.pad(history, ((0, 0), (0, padding + 1), (0, 0))).reshape(batch_size, blocks + 1, taps, width)
    seen = jnp.concatenate([history[:, :-1], history[:, 1:]], axis=2)
    products = jnp.einsum("bnid,bnjd->dij", gradient, seen, precision="highest")
    steps = jnp.arange(taps)
    return jnp.sum(products[:, steps[:, None], steps[:, None] + steps], axis=1).T


_with_gradient.defvjp(_forward, _backward)
