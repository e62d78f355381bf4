"""On PyTorch with a GPU: kernels in Triton that keep a state's N numbers in registers; see `triton_passes.py`."""

import torch
from torch import Tensor

from keras_griffin.ops.recurrence.kernels import torch_triton_launch
from keras_griffin.ops.recurrence.kernels.torch_triton_launch import supports
from keras_griffin.ops.selective_scan import triton_passes
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.selective_scan.masked import with_mask_applied
from keras_griffin.ops.selective_scan.torch_operator import with_gradient

__all__ = ["selective_scan", "supports"]


@with_mask_applied
def selective_scan(
    selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The outputs and the last state; see the package."""
    outputs, final_state, _ = selective_scan_with_gradient(*selection, initial_state, reset)
    return outputs, final_state


@torch.library.custom_op("keras_griffin::selective_scan_triton", mutates_args=())
def _selective_scan(
    inputs: Tensor,
    step_sizes: Tensor,
    rates: Tensor,
    input_weights: Tensor,
    output_weights: Tensor,
    initial_state: Tensor,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    selection = SelectiveScanInputs(inputs, step_sizes, rates, input_weights, output_weights)
    outputs, final_state, starts = triton_passes.scan(torch_triton_launch, selection, initial_state, reset)
    return outputs, final_state.contiguous(), starts


@_selective_scan.register_fake
def _(inputs, step_sizes, rates, input_weights, output_weights, initial_state, reset):
    starts = initial_state.new_empty(triton_passes.shape_of_starts(inputs.shape, initial_state.shape))
    contiguous = {"memory_format": torch.contiguous_format}
    return torch.empty_like(inputs, **contiguous), torch.empty_like(initial_state, **contiguous), starts


@torch.library.custom_op("keras_griffin::selective_scan_triton_gradient", mutates_args=())
def _gradient(
    inputs: Tensor,
    step_sizes: Tensor,
    rates: Tensor,
    input_weights: Tensor,
    output_weights: Tensor,
    starts: Tensor,
    reset: Tensor | None,
    outputs_gradient: Tensor,
    final_gradient: Tensor,
) -> list[Tensor]:
    selection, given = (
        SelectiveScanInputs(inputs, step_sizes, rates, input_weights, output_weights),
        (outputs_gradient, final_gradient),
    )
    into_u, into_s, into_rates, *sums, into_start = triton_passes.scan_gradient(
        torch_triton_launch, selection, starts, reset, given
    )
    into_b, into_c = (x.sum(0).to(like.dtype) for x, like in zip(sums, selection[3:], strict=True))
    return [into_u, into_s, into_rates.contiguous(), into_b, into_c, into_start.contiguous()]


#: The operator, which PyTorch differentiates.
selective_scan_with_gradient = with_gradient(_selective_scan, _gradient)
