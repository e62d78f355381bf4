"""On PyTorch with a GPU: kernels in Triton that read and write every array once.

Programs and pieces of time are those of `linear_scan`, with the same passes. Forward reads two arrays and writes the
states and, if a gradient will be asked for, the logarithm of the odds of past against input in float32, which is all
that the gradient needs: backward reads it and the gradient for the states, and writes two gradients.
"""

import torch
from torch import Tensor

from keras_griffin.ops.linear_scan.marks import Marks
from keras_griffin.ops.linear_scan.torch_triton import as_bytes, empty, launch, plan_of, starts_of_pieces, supports
from keras_griffin.ops.torch_transforms import is_active, transformable

__all__ = ["log_scan", "supports"]


def log_scan(decay: Tensor, inputs: Tensor, initial_state: Tensor, marks: Marks) -> tuple[Tensor, Tensor]:
    """Every state and the last one; see the package."""
    tensors = decay, inputs, initial_state
    # Under a transform a tensor may need a gradient at another level.
    is_needed = is_active() or any(tensor.requires_grad for tensor in tensors)
    has_gradient = torch.is_grad_enabled() and is_needed
    states, final_state, _ = _log_scan_with_gradient(*tensors, *marks, has_gradient)
    return states, final_state


@torch.library.custom_op("keras_griffin::log_scan_triton", mutates_args=())
def _log_scan(
    decay: Tensor,
    inputs: Tensor,
    initial_state: Tensor,
    reset: Tensor | None,
    mask: Tensor | None,
    has_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    from keras_griffin.ops.log_scan.torch_triton_kernels import log_piece_ends, log_scan

    d, x, start = decay.contiguous(), inputs.contiguous(), (initial_state.contiguous(),)
    marks, plan = as_bytes(reset, mask), plan_of(x, 2)
    states, final_state, odds = empty(x), empty(start[0]), empty(start[0], x.shape if has_gradient else (0,))
    ends = starts_of_pieces(log_piece_ends, ((d,), (x,), *marks), start, x, plan, log_scan, LAST_FIRST=False)
    written = (states, odds) if has_gradient else (states,)
    launch(log_scan, x, plan, plan.pieces, (d,), (x,), start, ends, written, (final_state,), *marks, REVERSE=False)
    return states, final_state, odds


@_log_scan.register_fake
def _(decay, inputs, initial_state, reset, mask, has_gradient):
    odds = initial_state.new_empty(inputs.shape if has_gradient else (0,))
    return *(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (inputs, initial_state)), odds


@torch.library.custom_op("keras_griffin::log_scan_triton_gradient", mutates_args=())
def _gradient(
    odds: Tensor,
    reset: Tensor | None,
    mask: Tensor | None,
    states_gradient: Tensor,
    final_gradient: Tensor,
    decay_dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    from keras_griffin.ops.log_scan.torch_triton_kernels import log_gradient_ends, log_scan_gradient

    into_states, into_final = states_gradient.contiguous(), (final_gradient.contiguous(),)
    marks, plan = as_bytes(reset, mask), plan_of(into_states, 2)
    into_decay, into_inputs, into_start = empty(into_states.to(decay_dtype)), empty(into_states), empty(into_final[0])
    numbers = (odds,), (into_states,)
    ends = starts_of_pieces(log_gradient_ends, (*numbers, *marks), into_final, into_states, plan, LAST_FIRST=True)
    results = (into_decay,), (into_inputs,), (into_start,)
    launch(log_scan_gradient, into_states, plan, plan.pieces, *numbers, into_final, ends, *results, *marks)
    return into_decay, into_inputs, into_start


@_gradient.register_fake
def _(odds, reset, mask, states_gradient, final_gradient, decay_dtype):
    into_inputs, into_start = (
        torch.empty_like(x, memory_format=torch.contiguous_format) for x in (states_gradient, final_gradient)
    )
    return torch.empty_like(into_inputs, dtype=decay_dtype), into_inputs, into_start


def _keep(ctx, inputs, output):
    decay, _, _, reset, mask, _ = inputs
    states, final_state, odds = output
    # Zeros for the gradient of the odds, which nobody sees, would be an array of the sequence's size.
    ctx.set_materialize_grads(False)
    ctx.dtype, ctx.shapes = decay.dtype, [(x.shape, x.dtype) for x in (states, final_state)]
    ctx.save_for_backward(odds, reset, mask)


def _backward(ctx, into_states, into_final, _):
    odds, *marks = ctx.saved_tensors
    given = [
        odds.new_zeros(shape, dtype=dtype) if gradient is None else gradient
        for gradient, (shape, dtype) in zip((into_states, into_final), ctx.shapes, strict=True)
    ]
    return *_differentiable_once(odds, *marks, *given, ctx.dtype), None, None, None


_log_scan_with_gradient = transformable("log_scan", _log_scan, "btd btd bd bt bt . -> b*d", _keep, _backward)
_differentiable_once = transformable("log_scan", _gradient, "btd bt bt btd bd . -> b*d")
