"""Gradients on PyTorch that are to be differentiated or transformed themselves.

The gradient of an operator is an operator too, which has none. Where it needs one, it is computed in Keras's
operations, which PyTorch differentiates any number of times.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from keras_griffin import backends


def are_wanted() -> bool:
    """Whether this backward pass is to be differentiated, as by `create_graph=True`, or is being transformed."""
    return torch.is_grad_enabled() or backends.active().is_transformed()


def differentiable_gradient(
    function: Callable[..., Iterable[Tensor]], tensors: Sequence[Tensor | None], gradients: Iterable[Tensor]
) -> list[Tensor | None]:
    """The gradient of a function of Keras's operations.

    Args:
        function: a function of the tensors.
        tensors: as saved for the backward pass.
        gradients: those for the function's results.

    Returns:
        The gradient for each tensor; None where none is needed.
    """
    has_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, because one of the tensors may have been computed from another.
        tensors = [x if x is None else x.view_as(x) for x in tensors]
        results = function(*tensors)
        wanted = [x for x in tensors if x is not None and x.requires_grad]
        # A result may depend on none of the tensors that need a gradient.
        pairs = [(y, g) for y, g in zip(results, gradients, strict=True) if y.requires_grad]
        results, gradients = zip(*pairs, strict=True)
        found = iter(torch.autograd.grad(results, wanted, gradients, create_graph=has_graph, allow_unused=True))
    return [next(found) if x is not None and x.requires_grad else None for x in tensors]
