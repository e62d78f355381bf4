"""Causal products with taps, within blocks by halves: each later half reads its earlier half, in halves of 1, 2, 4 ..

A product has only steps that every step of its result may see, so a later step leaves no trace, not even if it is NaN.
Between a step of the earlier half and one of the later half there is no reset if there is none between the first and
the middle, and none between the middle and the second.
"""

import numpy as np
from keras import ops

from keras_griffin.ops.shared.padding import power_of_two
from keras_griffin.shapes import Tensor

#: The longest rows of which all steps are multiplied with all: their halves would be many small operations.
LONGEST_AT_ONCE = 16
#: The fewest steps that are multiplied by a Fourier transform.
FEWEST_BY_FFT = 64


def within_blocks(x: Tensor, taps: Tensor, document: Tensor | None, readers: Tensor | None = None) -> Tensor:
    """y_i = sum_{j <= i} taps_{i-j} x_j in blocks of S steps, a power of two, if i and j are of one document.

    `x`: `(D, X, S)`, X blocks; `taps`: `(D, S)`; `document`: `(X, S)`, the number of resets up to each x, or None;
    `readers`: the same of each y, if that is not at the same time.
    """
    sums = taps[:, None, :1] * (x if readers is None else ops.where(document == readers, x, 0.0))
    readers = document if readers is None else readers
    half = 1
    while half < x.shape[-1]:
        pairs, of_sums = in_halves(x, half), in_halves(sums, half)
        marks = None
        if document is not None and readers is not None:
            marks = in_halves(document[None], half)[0, :, 0], in_halves(readers[None], half)[0, :, 1]
        read = product_of_halves(pairs[:, :, 0], taps[:, 1 : 2 * half], half, marks)
        sums = ops.stack([of_sums[:, :, 0], of_sums[:, :, 1] + read], axis=2)
        half *= 2
    return ops.reshape(sums, (x.shape[0], -1, x.shape[-1]))


def at_once(
    x: Tensor, taps: Tensor, document: Tensor | None, readers: Tensor | None = None, distance: int = 0
) -> Tensor:
    """`within_blocks` in one sum of S^2 products; with a distance, of j > i and taps_{distance+i-j} instead."""
    steps = np.arange(x.shape[-1])
    places = distance + steps[:, None] - steps
    seen = ops.convert_to_tensor(((places < distance) == (distance > 0))[None])
    if document is not None:
        readers = document if readers is None else readers
        seen = ops.logical_and(seen, ops.expand_dims(readers, -1) == ops.expand_dims(document, -2))
    matrix = ops.take(taps, ops.convert_to_tensor(np.clip(places, 0, taps.shape[1] - 1), "int32"), axis=1)
    return ops.sum(ops.where(seen, ops.expand_dims(x, -2), 0.0) * ops.expand_dims(matrix, 1), axis=-1)


def product_of_halves(x: Tensor, taps: Tensor, length: int, marks: tuple[Tensor, Tensor] | None) -> Tensor:
    """`toeplitz_product`, where `marks` are the documents `(X, S)` of all x and `(X, length)` of what reads them."""
    if marks is None:
        return toeplitz_product(x, taps, length)
    document, readers = marks
    last = document[:, -1:]
    return ops.where(readers == last, toeplitz_product(ops.where(document == last, x, 0.0), taps, length), 0.0)


def toeplitz_product(x: Tensor, taps: Tensor, length: int) -> Tensor:
    """y_i = sum_j taps_{S-1+i-j} x_j for i below `length`, from `x (D, X, S)` and `taps (D, S + length - 1)`."""
    steps = x.shape[-1]
    if steps < FEWEST_BY_FFT:
        places = [[steps - 1 + i - j for i in range(length)] for j in range(steps)]
        return x @ ops.take(taps, ops.convert_to_tensor(places, "int32"), axis=1)
    # Circular: what wraps around meets none of the results.
    around = power_of_two(steps + length - 1)
    (a, b), (c, d) = ops.rfft(x, around), ops.rfft(taps[:, None], around)
    return ops.irfft((a * c - b * d, a * d + b * c), around)[..., steps - 1 : steps - 1 + length]


def in_halves(x: Tensor, half: int) -> Tensor:
    """The earlier and the later halves of all blocks of `2 half` steps: `(D, X, S)` as `(D, X S / 2 half, 2, half)`."""
    return ops.reshape(x, (x.shape[0], -1, 2, half))
