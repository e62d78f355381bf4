"""The gradient of PyTorch's operators for `selective_scan`: what is saved for it, and what it returns."""

import torch


def register_gradient(operator, gradient):
    """Make an operator differentiable through another one.

    Args:
        operator: a `torch.library.custom_op` of a selection's five tensors, initial_state and reset. It returns
            outputs, final state, and the states before chunks of time.
        gradient: one of the selection's tensors, these states, reset, and the gradients for outputs and final state.
            It returns the gradients for the selection and for the initial state.
    """

    def keep(ctx, inputs, output):
        *selection, _, reset = inputs
        starts = output[2]
        ctx.mark_non_differentiable(starts)
        ctx.save_for_backward(*selection, starts, reset)

    def backward(ctx, outputs_gradient, final_gradient, _):
        return *gradient(*ctx.saved_tensors, outputs_gradient, final_gradient), None

    operator.register_autograd(backward, setup_context=keep)

    @gradient.register_fake
    def _(inputs, step_sizes, rates, input_weights, output_weights, starts, reset, outputs_gradient, final_gradient):
        tensors = inputs, step_sizes, rates, input_weights, output_weights, final_gradient
        return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in tensors]
