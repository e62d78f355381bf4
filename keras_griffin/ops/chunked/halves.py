"""Products of decays between the steps of a chunk: each later half reads the earlier half.

Between step j of an earlier half and step i of the later one lies the sum of the log decays from j to the middle plus
the sum from the middle to i. So every exponent is a sum of numbers of one sign: nothing overflows or cancels, as the
difference of two cumulated sums does.
"""

from keras import ops

from keras_griffin.ops.shared.padding import padded_steps
from keras_griffin.shapes import Tensor

#: The most steps of a chunk, a power of two.
LONGEST = 64
#: A log decay whose exponential is zero, in float64 too, while sums of it are finite.
STRONGEST = -1e4


def chunk_length(length: int | None) -> int:
    """The steps of a chunk, a power of two: fewer for a short sequence."""
    return LONGEST if length is None else min(LONGEST, 1 << max(length - 1, 0).bit_length())


def in_chunks(x: Tensor, size: int) -> Tensor:
    """`(B, T, ...)` as `(B, n, size, ...)`, padded with zeros."""
    rows, length, *rest = ops.shape(x)
    count = -(-length // size)
    return ops.reshape(padded_steps(x, 0, count * size - length), (rows, count, size, *rest))


def at_least(log_decay: Tensor) -> Tensor:
    """The log decay where it is above `STRONGEST`, which may stand for -inf; NaN stays."""
    return ops.where(log_decay < STRONGEST, STRONGEST, log_decay)


def triangle(rows: Tensor, columns: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums weighted by the decays between two steps, and the sums of log decays from the start and to the end.

        m_ij = sum_h rows_ih columns_jh exp(g_(j+1)h + .. + g_ih) for i >= j, else 0

    `rows`, `columns`, `log_decay`: (..., C, H), C a power of two. The results are m, `(..., C, C)`, and, shaped as
    `log_decay`, the sums up to and with each step, and those after each step.
    """
    *lead, length, _ = ops.shape(log_decay)
    since_start, to_end = log_decay, ops.zeros_like(log_decay)
    matrix = ops.sum(rows * columns, axis=-1)[..., None, None]
    size = 1
    while size < length:
        pairs = length // (2 * size)

        def halves(x, pairs=pairs, size=size):
            x = ops.reshape(x, (*lead, pairs, 2, size, x.shape[-1]))
            return x[..., 0, :, :], x[..., 1, :, :]

        def joined(first, second, pairs=pairs, size=size):
            return ops.reshape(ops.concatenate([first, second], axis=-2), (*lead, 2 * pairs * size, first.shape[-1]))

        (start_first, start_second), (end_first, end_second) = halves(since_start), halves(to_end)
        later, earlier = halves(rows)[1] * ops.exp(start_second), halves(columns)[0] * ops.exp(end_first)
        corner = later @ ops.swapaxes(earlier, -1, -2)
        matrix = ops.reshape(matrix, (*lead, pairs, 2, size, size))
        above = ops.concatenate([matrix[..., 0, :, :], ops.zeros_like(corner)], axis=-1)
        matrix = ops.concatenate([above, ops.concatenate([corner, matrix[..., 1, :, :]], axis=-1)], axis=-2)
        since_start = joined(start_first, start_second + start_first[..., -1:, :])
        to_end = joined(end_first + start_second[..., -1:, :], end_second)
        size *= 2
    return ops.reshape(matrix, (*lead, length, length)), since_start, to_end
