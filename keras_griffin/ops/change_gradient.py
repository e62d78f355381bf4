"""A gradient that tells what comes back from what went forward: one rule in `keras.ops`, for every backend."""

from collections.abc import Callable, Sequence

import keras
from keras import ops

from keras_griffin.backends import imported
from keras_griffin.shapes import Tensor

# At once: Dynamo can't follow an import.
_BACKEND = keras.backend.backend()
_HAS_GRADIENTS = _BACKEND in ("jax", "torch", "tensorflow")
_IMPLEMENTATION = imported(f"keras_griffin.ops.{_BACKEND}_change_gradient") if _HAS_GRADIENTS else None


def change_gradient(
    rule: Callable, outputs: Tensor, tensors: Sequence[Tensor], marks: Sequence[Tensor | None], op_name: str
) -> Tensor:
    """The outputs as they are, with a rule for the gradient that comes back to them.

        dy', dx_1, .., dx_n = rule(dy)

    dy' goes on to what made the outputs, and each dx_i is added to the gradient of the i-th tensor.

    Args:
        rule: a function of `(cotangent, shapes, *marks)` in `keras.ops`, shapes being those of the tensors. It gives
            the cotangent to go on, and a gradient of its tensor's shape for each tensor. It closes over no tensor.
        outputs: any shape, any float dtype.
        tensors: of the dtype of `outputs`.
        marks: what the rule reads besides, not differentiated.
        op_name: the op in whose name an error speaks.

    Returns:
        `outputs`. Without a gradient, as on NumPy, nothing happens.

    Raises:
        NotImplementedError: PyTorch differentiates forward, for which there is no rule.
    """
    if _IMPLEMENTATION is None:
        return outputs
    shapes = tuple(tuple(ops.shape(tensor)) for tensor in tensors)
    return _IMPLEMENTATION.change_gradient(rule, shapes, outputs, tuple(tensors), tuple(marks), op_name)
