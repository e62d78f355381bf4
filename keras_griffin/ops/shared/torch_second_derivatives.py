"""Gradients on PyTorch that are differentiated or transformed themselves.

The gradient of an operator is an operator without one; Keras's operations have derivatives of every order.
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
    """The gradient for each tensor, None for None, of a function of Keras's operations."""
    places = [i for i, x in enumerate(tensors) if x is not None]

    def of_tensors(*given):
        arguments = dict(zip(places, given, strict=True))
        return tuple(function(*(arguments.get(i) for i in range(len(tensors)))))

    _, pull_back = torch.func.vjp(of_tensors, *(tensors[i] for i in places))
    found = dict(zip(places, pull_back(tuple(gradients)), strict=True))
    return tuple(found.get(i) for i in range(len(tensors)))
