"""The square root with a bounded derivative."""

from keras import ops

from keras_griffin.ops.shared.arguments import as_tensor
from keras_griffin.shapes import Tensor

#: sqrt of 2.5e-7, below which the derivative stays at 1 / (2 * 5e-4) = 1000.
SMALLEST_ROOT = 5e-4


def bounded_sqrt(x: Tensor) -> Tensor:
    """Square root whose derivative is at most 1000.

        y = sqrt(x)        dy/dx = 1 / (2 sqrt(max(x, 2.5e-7)))

    The derivative of sqrt is infinite at 0, where the input of a recurrence vanishes as its decay reaches 1.

    Args:
        x: any shape, any float dtype, finite and not negative.

    Returns:
        The shape and dtype of `x`; exactly the backend's `sqrt(x)`.

    Precision: everything in the dtype of `x`. Higher derivatives are those of this derivative: 0 where it is bounded.

    Reference: Botev et al. 2024 (arXiv 2404.07839).
    """
    x = as_tensor(x)
    smallest = ops.convert_to_tensor(SMALLEST_ROOT**2, x.dtype)
    is_bounded = x <= smallest
    # The last term is zero: it carries the derivative and adds nothing to the value.
    slope = ops.convert_to_tensor(0.5 / SMALLEST_ROOT, x.dtype)
    below = ops.stop_gradient(ops.sqrt(x)) + (x - ops.stop_gradient(x)) * slope
    return ops.where(is_bounded, below, ops.sqrt(ops.where(is_bounded, smallest, x)))


def bounded_slope(root: Tensor) -> Tensor:
    """The derivative of `bounded_sqrt` where the root is `root`."""
    # On PyTorch Keras returns float32 from `maximum`, and makes float32 of a Python number.
    smallest = ops.convert_to_tensor(SMALLEST_ROOT, root.dtype)
    return ops.divide(0.5, ops.where(root > smallest, root, smallest))
