"""More steps before and after a sequence."""

from keras import ops

from keras_griffin.shapes import Tensor


def padded_steps(x: Tensor, before: int = 0, after: int = 0, filler: float = 0) -> Tensor:
    """A sequence between so many steps of one number.

    `keras.ops.pad` makes an operation with a name of its own at each call, and PyTorch's compiler would make a program
    for each name.

    Args:
        x: `(B, T, ...)`.
        before: steps before the first.
        after: steps after the last.
        filler: the number, one that the dtype of `x` holds.

    Returns:
        `(B, before + T + after, ...)`, dtype of `x`.
    """
    batch_size, _, *rest = ops.shape(x)

    def steps(number):
        # TensorFlow may know the number only when the graph runs.
        if isinstance(number, int) and number == 0:
            return []
        # `full` would read the number from a tensor, which PyTorch's meta device has not.
        zeros = ops.zeros((batch_size, number, *rest), x.dtype)
        return [zeros + filler if filler else zeros]

    return ops.concatenate([*steps(before), x, *steps(after)], axis=1)
