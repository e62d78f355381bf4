"""Causal products within blocks by halves: the later half of each block reads its earlier half, in halves of 1, 2, 4 ..

A product has only steps that every step of its result may see, so a later step leaves no trace, not even if it is NaN.
Between a step of the earlier half and one of the later half there is no reset if there is none between the first and
the middle, and none between the middle and the second.
"""

from keras import ops

from keras_griffin.shapes import Tensor

#: The fewest steps that are multiplied by a Fourier transform.
FEWEST_BY_FFT = 64


def within_blocks(x: Tensor, taps: Tensor, document: Tensor | None) -> Tensor:
    """y_i = sum_{j <= i} taps_{i-j} x_j in blocks of S steps, a power of two, along which no reset lies between.

    `x`: `(D, X, S)`, X blocks; `taps`: `(D, S)`; `document`: `(X, S)`, the number of resets up to each step, or None.
    """
    width, _, size = x.shape
    sums = taps[:, None, :1] * x
    half = 1
    while half < size:
        earlier, (first, second) = _halves(x, half)[0], _halves(sums, half)
        if document is None:
            second = second + toeplitz_product(earlier, taps[:, 1 : 2 * half], half)
        else:
            before, after = (part[0] for part in _halves(document[None], half))
            middle = before[:, -1:]
            product = toeplitz_product(ops.where(before == middle, earlier, 0.0), taps[:, 1 : 2 * half], half)
            second = second + ops.where(after == middle, product, 0.0)
        sums = ops.reshape(ops.stack([first, second], axis=2), (width, -1, size))
        half *= 2
    return sums


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


def power_of_two(number: int) -> int:
    """The least power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()


def _halves(x, half):
    """The earlier and the later halves `(D, X S / (2 half), half)` of all blocks of so many steps."""
    pairs = ops.reshape(x, (x.shape[0], -1, 2, half))
    return pairs[:, :, 0], pairs[:, :, 1]
