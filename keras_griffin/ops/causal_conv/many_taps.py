"""A causal convolution of many taps: by halves, with Fourier transforms from halves of 64 steps on.

For each binary digit of K there is a segment of so many taps, W. In blocks of W steps, a step reads the earlier part of
its block, and of the block before what is after its own place. Both triangles are cut into squares, of which every step
reads all. So no step is multiplied that no tap reaches, not even if it is NaN, and the time is O(T log^2 K). With one
transform of the row, NaN in a later step would be everywhere, and 1e6 there would change the past by 2.
"""

from keras import ops

from keras_griffin.ops.chunked.toeplitz import (
    LONGEST_AT_ONCE,
    at_once,
    in_halves,
    product_of_halves,
    within_blocks,
)
from keras_griffin.ops.shared.padding import first_steps, padded_steps, power_of_two
from keras_griffin.shapes import Tensor


def sum_of_many_taps(history: Tensor, document: Tensor | None, kernel: Tensor) -> Tensor:
    """y_t `(B, T, D)` from `history (B, K - 1 + T, D)`, its documents `(B, K - 1 + T)` or None, and `kernel (K, D)`."""
    taps, sums, nearest = kernel.shape[0], 0.0, 0
    by_distance = ops.transpose(ops.flip(kernel, axis=0))
    readers = None if document is None else document[:, taps - 1 :]
    while nearest < taps:
        width = 1 << ((taps - nearest).bit_length() - 1)
        # The inputs that one of these taps reads.
        seen = slice(taps - nearest - width, -nearest or None)
        marks = None if document is None else (document[:, seen], readers)
        sums = sums + _segment(history[:, seen], by_distance[:, nearest : nearest + width], marks)
        nearest += width
    return sums


def _segment(history, taps, marks):
    """y_t = sum_{s < W} taps_s x_{t-s} from `history (B, W - 1 + T, D)` and `taps (D, W)`, W a power of two."""
    batch_size, steps, channels = ops.shape(history)
    width = taps.shape[1]
    length = steps - (width - 1)
    size = min(width, power_of_two(length)) if isinstance(length, int) else width
    blocks, earlier = -(-length // size), width // size
    padding = blocks * size - length

    def cut(x):
        """Blocks `(D, B, W / S + T / S, S)`: the earlier ones, then the outputs' own."""
        x = padded_steps(x, before=1, after=padding)
        return ops.reshape(ops.transpose(x, (2, 0, 1)), (x.shape[-1], batch_size, earlier + blocks, size))

    def part(x, start, stop=None):
        return ops.reshape(x[:, :, start:stop], (x.shape[0], -1, size))

    x, document, readers = cut(history), None, None
    if marks is not None:
        document = cut(marks[0][..., None])
        readers = ops.reshape(padded_steps(marks[1], after=padding), (-1, size))
    is_short = isinstance(length, int) and length <= LONGEST_AT_ONCE
    own = None if document is None else part(document, earlier)[0]
    sums = (at_once if is_short else within_blocks)(part(x, earlier), taps[:, :size], own, readers)
    before = None if document is None else part(document, 0, blocks)[0]
    if is_short:
        sums = sums + at_once(part(x, 0, blocks), taps, before, readers, width)
    else:
        sums = _from_the_block_before(sums, part(x, 0, blocks), taps, before, readers)
    if earlier > 1:
        # One block of outputs, and between both all that each of them reads.
        between = ops.reshape(x[:, :, 1:earlier], (channels, batch_size, width - size))
        of_both = None
        if document is not None:
            of_both = ops.reshape(document[0, :, 1:earlier], (batch_size, width - size)), readers
        sums = sums + product_of_halves(between, taps[:, 1:], size, of_both)
    sums = ops.reshape(sums, (channels, batch_size, blocks * size))
    return first_steps(ops.transpose(sums, (1, 2, 0)), length)


def _from_the_block_before(sums, x, taps, document, readers):
    """Add sum_{j > i} taps_{W+i-j} x_j, from blocks `(D, X, S)` W steps before those of the sums."""
    (channels, _, size), width = sums.shape, taps.shape[1]
    half = size // 2
    while half:
        pairs, of_sums = in_halves(x, half), in_halves(sums, half)
        marks = None
        if document is not None:
            marks = in_halves(document[None], half)[0, :, 1], in_halves(readers[None], half)[0, :, 0]
        read = product_of_halves(pairs[:, :, 1], taps[:, width - 2 * half + 1 :], half, marks)
        sums = ops.stack([of_sums[:, :, 0] + read, of_sums[:, :, 1]], axis=2)
        half //= 2
    return ops.reshape(sums, (channels, -1, size))
