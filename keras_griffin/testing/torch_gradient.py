"""Value and gradient on PyTorch."""

import torch


def value_and_gradient(function, tensors):
    """The value of `function(*tensors)` and its gradient for each tensor, zeros where there is none."""
    tensors = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    with torch.enable_grad():
        value = function(*tensors)
        gradients = torch.autograd.grad(value, tensors, allow_unused=True)
    gradients = [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, gradients, strict=True)]
    return value.detach(), gradients
