"""The derivatives of PyTorch's operators for `selective_scan`: the first by an operator, others by `portable`."""

import torch

from keras_griffin.ops.recurrence.marks import marks_of_steps
from keras_griffin.ops.selective_scan import portable
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.shared.torch_second_derivatives import are_wanted, differentiable_gradient


def with_gradient(operator, gradient):
    """The operator with derivatives of every order.

    Args:
        operator: a `torch.library.custom_op` of a selection's five tensors, initial_state and reset. It returns
            outputs, final state, and the states before chunks of time.
        gradient: one of the selection's tensors, these states, reset, and the gradients for outputs and final state.
            It returns the gradients for the selection and for the initial state; that for the rates is each row's,
            `(B, D, N)`, in the accumulation dtype.
    """

    def keep(ctx, inputs, output):
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(*inputs, output[2])

    def backward(ctx, outputs_gradient, final_gradient, _):
        *tensors, reset, starts = ctx.saved_tensors
        gradients = outputs_gradient, final_gradient

        def again(*tensors):
            inputs = SelectiveScanInputs(*tensors[:5])
            return portable.selective_scan(inputs, tensors[5], marks_of_steps(reset, None))

        if are_wanted():
            return *differentiable_gradient(again, tensors, gradients), None
        into_inputs, into_sizes, into_rates, *others = gradient(*tensors[:5], starts, reset, *gradients)
        return into_inputs, into_sizes, into_rates.sum(0).to(tensors[2].dtype), *others, None

    operator.register_autograd(backward, setup_context=keep)

    @gradient.register_fake
    def _(inputs, step_sizes, rates, input_weights, output_weights, starts, reset, outputs_gradient, final_gradient):
        tensors = inputs, step_sizes, final_gradient, input_weights, output_weights, final_gradient
        return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in tensors]

    return operator
