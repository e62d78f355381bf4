"""`change_gradient` on PyTorch."""

import torch

from keras_griffin.ops.torch_transforms import is_forward_mode_active, refuse_forward_mode


def change_gradient(rule, shapes, outputs, tensors, marks, op_name):
    """The contract is `keras_griffin.ops.change_gradient`."""
    # If no argument needs a gradient, Dynamo passes such a function the wrong arguments.
    is_idle = torch.compiler.is_compiling() and not any(x.requires_grad for x in (outputs, *tensors))
    if is_idle or not torch.is_grad_enabled():
        return outputs
    change = _ChangeInForwardMode if is_forward_mode_active() else _Change
    return change.apply(rule, shapes, op_name, outputs, *tensors, *marks)


class _Change(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(rule, shapes, op_name, outputs, *others):
        return outputs.view_as(outputs)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.rule, ctx.shapes, ctx.op_name, _, *others = inputs
        ctx.save_for_backward(*others[len(ctx.shapes) :])

    @staticmethod
    def backward(ctx, cotangent):
        marks = ctx.saved_tensors
        return None, None, None, *ctx.rule(cotangent, ctx.shapes, *marks), *(None for _ in marks)


class _ChangeInForwardMode(_Change):
    """Apart, because Dynamo can't trace a function with a rule for forward mode."""

    @staticmethod
    def jvp(ctx, *tangents):
        refuse_forward_mode(ctx.op_name)
