"""A custom rule for the gradient of a tensor or of several, written once in `keras.ops` for every backend."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_griffin.backends import has_gradients, imported
from keras_griffin.shapes import Tensor

# At import time: Dynamo can't follow an import.
_NAME = f"keras_griffin.ops.shared.{keras.backend.backend()}_change_gradient"
_IMPLEMENTATION = imported(_NAME) if has_gradients() else None


def change_gradient(rule: Callable, outputs: Any, tensors: Sequence[Tensor], marks: Sequence[Tensor | None]) -> Any:
    """The outputs, a tensor or a tuple, unchanged; backward, `rule(cotangent, shapes, *marks)` replaces the cotangent.

    The rule, in `keras.ops`, closes over no tensor. It returns the cotangent to pass back through the outputs, a tensor
    or a tuple as they are, and, for each of the tensors, whose shapes it gets, a gradient to add. In PyTorch's forward
    mode the rule does not apply.
    """
    if _IMPLEMENTATION is None:
        return outputs
    shapes = tuple(tuple(ops.shape(tensor)) for tensor in tensors)
    return _IMPLEMENTATION.change_gradient(rule, shapes, outputs, tuple(tensors), tuple(marks))
