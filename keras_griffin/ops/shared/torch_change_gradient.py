"""`change_gradient` on PyTorch."""

import functools

import torch

from keras_griffin.backends.torch_backend import is_forward_mode_active


def change_gradient(rule, shapes, outputs, tensors, marks):
    """The contract is `keras_griffin.ops.shared.change_gradient`."""
    if not isinstance(outputs, tuple):
        return change_gradient(functools.partial(_of_one, rule), shapes, (outputs,), tensors, marks)[0]
    # If no argument needs a gradient, Dynamo passes such a function the wrong arguments.
    is_idle = torch.compiler.is_compiling() and not any(x.requires_grad for x in (*outputs, *tensors))
    if is_idle or not torch.is_grad_enabled() or is_forward_mode_active():
        return outputs
    return _Change.apply(rule, shapes, len(outputs), *outputs, *tensors, *marks)


def _of_one(rule, cotangents, shapes, *marks):
    """The rule of one output, for a tuple of one."""
    changed, *gradients = rule(cotangents[0], shapes, *marks)
    return (changed,), *gradients


class _Change(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(rule, shapes, count, *others):
        return tuple(x.view_as(x) for x in others[:count])

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.rule, ctx.shapes, ctx.count, *others = inputs
        ctx.save_for_backward(*others[ctx.count + len(ctx.shapes) :])

    @staticmethod
    def backward(ctx, *cotangents):
        marks = ctx.saved_tensors
        changed, *gradients = ctx.rule(cotangents, ctx.shapes, *marks)
        return None, None, None, *changed, *gradients, *(None for _ in marks)
