"""A custom rule for a tensor's gradient, written once in `keras.ops` for every backend."""

from collections.abc import Callable, Sequence

import keras
from keras import ops

from keras_griffin.backends import imported
from keras_griffin.shapes import Tensor

# At import time: Dynamo can't follow an import.
_BACKEND = keras.backend.backend()
_HAS_GRADIENTS = _BACKEND in ("jax", "torch", "tensorflow")
_IMPLEMENTATION = imported(f"keras_griffin.ops.shared.{_BACKEND}_change_gradient") if _HAS_GRADIENTS else None


def change_gradient(
    rule: Callable, outputs: Tensor, tensors: Sequence[Tensor], marks: Sequence[Tensor | None]
) -> Tensor:
    """The outputs unchanged, with a rule for their gradient.

        dy', dx_1, .., dx_n = rule(dy)

    dy' is passed back through the outputs, and each dx_i is added to the gradient of the i-th tensor.

    Args:
        rule: a function of `(cotangent, shapes, *marks)` in `keras.ops`, where `shapes` are those of the tensors. It
            returns the cotangent to pass back and, for each tensor, a gradient of its shape. It closes over no tensor.
        outputs: any shape, any float dtype.
        tensors: of the dtype of `outputs`.
        marks: other arguments of the rule, not differentiated.

    Returns:
        `outputs`. On a backend without gradients, such as NumPy, nothing else happens, nor does it in PyTorch's forward
        mode.
    """
    if _IMPLEMENTATION is None:
        return outputs
    shapes = tuple(tuple(ops.shape(tensor)) for tensor in tensors)
    return _IMPLEMENTATION.change_gradient(rule, shapes, outputs, tuple(tensors), tuple(marks))
