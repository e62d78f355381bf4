"""Decays between the steps of a chunk, by sums of their logarithms that have one sign.

The difference of two cumulated sums cancels, and the quotient of their exponentials overflows, once decays are strong.
So between step j and step i lies the sum of what is between them: for a head, in a triangle of such sums; for many
channels by halves, where each later half reads the earlier half, from j to the middle and from the middle to i.
"""

import numpy as np
from keras import ops

from keras_griffin.ops.shared.padding import padded_steps
from keras_griffin.shapes import Tensor

#: The most steps of a chunk, a power of two.
LONGEST = 64
#: Up to this many steps, a product of all pairs takes less time than the many small ones by halves, and to compile.
_BLOCK = 16
#: A log decay whose exponential is zero, in float64 too, while sums of it are finite.
STRONGEST = -1e4


def chunk_length(length: int | None) -> int:
    """The steps of a chunk, a power of two: fewer for a short sequence."""
    return min(LONGEST, 1 << max(length - 1, 0).bit_length()) if isinstance(length, int) else LONGEST


def in_chunks(x: Tensor, size: int) -> Tensor:
    """`(B, T, ...)` as `(B, n, size, ...)`, padded with zeros."""
    rows, length, *rest = ops.shape(x)
    count = -(-length // size)
    return ops.reshape(padded_steps(x, 0, count * size - length), (rows, count, size, *rest))


def at_least(log_decay: Tensor) -> Tensor:
    """The log decay where it is above `STRONGEST`, which may stand for -inf; NaN stays."""
    return ops.where(log_decay < STRONGEST, STRONGEST, log_decay)


def sums(log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """The sums over a chunk's steps `(..., C, H)` up to and with each, and those after each."""
    lower = np.tril(np.ones(2 * [log_decay.shape[-2]], "float32"))
    return _matrix(lower, log_decay) @ log_decay, _matrix(1.0 - lower, log_decay) @ log_decay


def decays(log_decay: Tensor) -> Tensor:
    """The decay from step j to step i, `(..., C, C)`, zero for i < j, of `(..., C, 1)`."""
    lower = np.tril(np.ones(2 * [log_decay.shape[-2]], "float32"))
    between = ops.where(np.tril(lower, -1) > 0.0, log_decay, 0.0)
    return ops.where(lower > 0.0, ops.exp(_matrix(lower, log_decay) @ between), 0.0)


def decayed_products(query: Tensor, key: Tensor, log_decay: Tensor) -> Tensor:
    """sum_h q_ih k_jh exp(g_(j+1)h + .. + g_ih), `(..., C, C)`, zero for i < j, of three `(..., C, H)`."""
    *lead, length, _ = ops.shape(log_decay)
    size = min(length, _BLOCK)

    def split(x, *sizes):
        return ops.reshape(x, (*lead, *sizes, x.shape[-1]))

    blocks = [split(x, length // size, size) for x in (query, key, log_decay)]
    products, (since_start, to_end) = _within_block(*blocks), sums(blocks[2])
    while size < length:
        pairs = length // (2 * size)
        (start_first, start_second), (end_first, end_second), (_, later), (earlier, _) = (
            ops.unstack(split(x, pairs, 2, size), axis=-3) for x in (since_start, to_end, query, key)
        )
        corner = (later * ops.exp(start_second)) @ ops.swapaxes(earlier * ops.exp(end_first), -1, -2)
        first, second = ops.unstack(split(products, pairs, 2, size), axis=-3)
        first = ops.concatenate([first, ops.zeros_like(corner)], axis=-1)
        products = ops.concatenate([first, ops.concatenate([corner, second], axis=-1)], axis=-2)
        since_start = ops.concatenate([start_first, start_second + start_first[..., -1:, :]], axis=-2)
        to_end = ops.concatenate([end_first + start_second[..., -1:, :], end_second], axis=-2)
        size *= 2
    return split(products, length)


def _within_block(query, key, log_decay):
    """`decayed_products` of few steps, as one product of all pairs for each size of the halves."""
    steps = np.arange(log_decay.shape[-2])
    products = ops.sum(query * key, axis=-1)[..., None] * _matrix(np.eye(len(steps)), query)
    size = 1
    while size < len(steps):
        same, later = (steps // (2 * size))[:, None] == steps // (2 * size), (steps // size) % 2 == 1
        # To the later half's steps from the middle, from the earlier half's steps to it.
        between = np.where(later[:, None], later & (steps <= steps[:, None]), ~later & (steps > steps[:, None]))
        decay = ops.exp(_matrix(same & between, log_decay) @ log_decay)
        all_pairs = (query * decay) @ ops.swapaxes(key * decay, -1, -2)
        products = products + ops.where(same & later[:, None] & ~later, all_pairs, 0.0)
        size *= 2
    return products


def _matrix(array, like):
    return ops.convert_to_tensor(array, like.dtype)
