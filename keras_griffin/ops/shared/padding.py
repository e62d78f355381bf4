"""Padding along time, and what sizes it leads to."""

import keras
from keras import ops

from keras_griffin.shapes import Tensor


def first_steps(x: Tensor, length) -> Tensor:
    """The first steps of `x (B, S, ...)`, `length` of them, which is at most S."""
    if keras.backend.backend() != "jax" or isinstance(length, int):
        return x[:, :length]
    # In exported programs it is free, and JAX can't tell whether such a slice is so long.
    rows, _, *rest = ops.shape(x)
    return ops.slice(x, [0] * len(x.shape), (rows, length, *rest))


def power_of_two(number: int) -> int:
    """The least power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()


def padded_steps(x: Tensor, before: int = 0, after: int = 0, filler: float = 0) -> Tensor:
    """`x (B, T, ...)` with so many steps of a constant before and after it."""
    # `keras.ops.pad` creates an operation with a new name at each call, and PyTorch's compiler would recompile for it.
    batch_size, _, *rest = ops.shape(x)

    def steps(number):
        # On TensorFlow the number may be known only when the graph runs.
        if isinstance(number, int) and number == 0:
            return []
        # `full` would read its value from a tensor, which has none on PyTorch's meta device.
        zeros = ops.zeros((batch_size, number, *rest), x.dtype)
        return [zeros + filler if filler else zeros]

    return ops.concatenate([*steps(before), x, *steps(after)], axis=1)
