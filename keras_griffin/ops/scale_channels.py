"""A product whose gradient XLA sums quickly."""

from keras import ops

from keras_griffin.shapes import Tensor


def scale_channels(x: Tensor, scale: Tensor) -> Tensor:
    """`x (..., D)` times `scale (D,)`, as a matrix of rows."""
    # The gradient for `scale` is a sum over the rows. For a batch of one, XLA on a CPU takes ten times as long to sum
    # over time alone.
    if x.shape[-1] == 0:
        return x
    rows = ops.reshape(x, (-1, x.shape[-1])) * scale
    return ops.reshape(rows, ops.shape(x))
