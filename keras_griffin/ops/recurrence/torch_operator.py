"""PyTorch's operators of a list of tensors, the derivatives of which are operators too."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from keras_griffin.ops.shared.torch_second_derivatives import are_wanted, differentiable_gradient


def with_derivatives(operator: Any, gradient: Any, again: Callable[..., Iterable[Tensor]], extra: int = 0) -> Callable:
    """The operator with derivatives of every order: the first by `gradient`, the others those of `again`.

    Args:
        operator: a `torch.library.custom_op` of `(tensors, *marks, *options)`, the last tensor the initial state; it
            returns a list.
        gradient: one of `(tensors, kept, gradients, *marks, *options)`, where `kept` are the extra results, or the
            first half; it returns the tensors' gradients. A tensor with fewer axes than the state has none for the
            batch; its gradient is each row's, in the state's dtype.
        again: the operator in Keras's operations.
        extra: how many of the operator's results, the last ones, are for the gradient alone.
    """

    def keep(ctx, inputs, output):
        tensors, *others = inputs
        marks = [x for x in others if x is None or isinstance(x, Tensor)]
        ctx.tensors, ctx.marks, ctx.options = len(tensors), len(marks), others[len(marks) :]
        results = len(output) - extra
        ctx.mark_non_differentiable(*output[results:])
        ctx.save_for_backward(*tensors, *marks, *(output[results:] if extra else output[: results // 2]))

    def backward(ctx, gradients):
        saved = list(ctx.saved_tensors)
        tensors, kept = saved[: ctx.tensors], saved[ctx.tensors + ctx.marks :]
        others = *saved[ctx.tensors : ctx.tensors + ctx.marks], *ctx.options
        gradients = gradients[: len(gradients) - extra]
        into: Iterable
        if are_wanted():
            into = differentiable_gradient(lambda *tensors: again(tensors, *others), tensors, gradients)
        else:
            pairs = zip(gradient(tensors, kept, gradients, *others), tensors, strict=True)
            into = [x if x.ndim == like.ndim else x.sum(0).to(like.dtype) for x, like in pairs]
        return list(into), *(None for _ in others)

    operator.register_autograd(backward, setup_context=keep)

    @gradient.register_fake
    def _(tensors, *others):
        state = tensors[-1]
        return [state.new_empty((len(state), *x.shape)) if x.ndim < state.ndim else contiguous_like(x) for x in tensors]

    return operator


def contiguous_like(array: Tensor) -> Tensor:
    """An uninitialised array of the same shape and dtype."""
    return torch.empty_like(array, memory_format=torch.contiguous_format)
