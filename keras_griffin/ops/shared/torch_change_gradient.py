"""`change_gradient` on PyTorch."""

import torch

from keras_griffin.backends.torch_backend import is_forward_mode_active


def change_gradient(rule, shapes, outputs, tensors, marks):
    """The contract is `keras_griffin.ops.shared.change_gradient`."""
    # If no argument needs a gradient, Dynamo passes such a function the wrong arguments.
    is_idle = torch.compiler.is_compiling() and not any(x.requires_grad for x in (outputs, *tensors))
    if is_idle or not torch.is_grad_enabled() or is_forward_mode_active():
        return outputs
    return _Change.apply(rule, shapes, outputs, *tensors, *marks)


class _Change(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(rule, shapes, outputs, *others):
        return outputs.view_as(outputs)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.rule, ctx.shapes, _, *others = inputs
        ctx.save_for_backward(*others[len(ctx.shapes) :])

    @staticmethod
    def backward(ctx, cotangent):
        marks = ctx.saved_tensors
        return None, None, *ctx.rule(cotangent, ctx.shapes, *marks), *(None for _ in marks)
