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
) -> tuple[Tensor | None, ...]:
    """The gradient of a function of Keras's operations.

    Args:
        function: a function of the tensors.
        tensors: as saved for the backward pass.
        gradients: those for the function's results.

    Returns:
        The gradient for each tensor; None for None.
    """
    places = [i for i, x in enumerate(tensors) if x is not None]

    def of_tensors(*given):
        arguments = dict(zip(places, given, strict=True))
        return tuple(function(*(arguments.get(i) for i in range(len(tensors)))))

    _, pull_back = torch.func.vjp(of_tensors, *(tensors[i] for i in places))
    found = dict(zip(places, pull_back(tuple(gradients)), strict=True))
    return tuple(found.get(i) for i in range(len(tensors)))
