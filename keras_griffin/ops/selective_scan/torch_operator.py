"""The gradient of PyTorch's operators for `selective_scan`: what is saved for it, and what it returns."""

import torch

from keras_griffin.ops.torch_transforms import transformable


def with_gradient(operator, gradient, starts: str):
    """The operator as a function that PyTorch differentiates and transforms.

    Args:
        operator: a `torch.library.custom_op` of a selection's five tensors, initial_state and reset. It returns
            outputs, final state, and the states before chunks of time.
        gradient: one of the selection's tensors, these states, reset, and the gradients for outputs and final state.
            It returns the gradients for the selection and for the initial state; that for the rates is each row's,
            `(B, D, N)`, in the accumulation dtype.
        starts: the axes of the states before chunks of time, rows `b` and channels `d` among them.
    """

    def keep(ctx, inputs, output):
        *selection, _, reset = inputs
        starts = output[2]
        ctx.mark_non_differentiable(starts)
        ctx.save_for_backward(*selection, starts, reset)

    def backward(ctx, outputs_gradient, final_gradient, _):
        _, _, rates, *_ = kept = ctx.saved_tensors
        into_inputs, into_sizes, into_rates, *others = run_gradient(*kept, outputs_gradient, final_gradient)
        return into_inputs, into_sizes, into_rates.sum(0).to(rates.dtype), *others, None

    axes = f"btd btd dn btn btn bdn bt -> btd bdn {starts}"
    run = transformable("selective_scan", operator, axes, keep, backward)
    axes = f"btd btd dn btn btn {starts} bt btd bdn -> btd btd bdn btn btn bdn"
    run_gradient = transformable("selective_scan", gradient, axes)

    @gradient.register_fake
    def _(inputs, step_sizes, rates, input_weights, output_weights, starts, reset, outputs_gradient, final_gradient):
        tensors = inputs, step_sizes, final_gradient, input_weights, output_weights, final_gradient
        return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in tensors]

    return run
