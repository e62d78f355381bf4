"""On PyTorch with a GPU: kernels in Triton that keep a state's N numbers in registers; see `triton_passes.py`."""

import torch
from torch import Tensor

from keras_griffin.ops.recurrence.kernels import torch_triton_launch
from keras_griffin.ops.recurrence.kernels.torch_triton_launch import supports
from keras_griffin.ops.recurrence.torch_operator import contiguous_like
from keras_griffin.ops.selective_scan import triton_passes
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.selective_scan.torch_loop import of_operators

__all__ = ["selective_scan", "supports"]


@torch.library.custom_op("keras_griffin::selective_scan_triton", mutates_args=())
def _selective_scan(tensors: list[Tensor], reset: Tensor | None) -> list[Tensor]:
    selection, initial_state = SelectiveScanInputs(*tensors[:5]), tensors[5]
    outputs, final_state, starts = triton_passes.scan(torch_triton_launch, selection, initial_state, reset)
    return [outputs, final_state.contiguous(), starts]


@_selective_scan.register_fake
def _(tensors, reset):
    inputs, state = tensors[0], tensors[5]
    starts = state.new_empty(triton_passes.shape_of_starts(inputs.shape, state.shape))
    return [contiguous_like(inputs), contiguous_like(state), starts]


@torch.library.custom_op("keras_griffin::selective_scan_triton_gradient", mutates_args=())
def _gradient(tensors: list[Tensor], kept: list[Tensor], gradients: list[Tensor], reset: Tensor | None) -> list[Tensor]:
    selection = SelectiveScanInputs(*tensors[:5])
    into, into_start = triton_passes.scan_gradient(
        torch_triton_launch, selection, kept[0], reset, (gradients[0], gradients[1])
    )
    into_b, into_c = (x.sum(0).to(like.dtype) for x, like in zip(into[3:], selection[3:], strict=True))
    return [*into[:2], into.rates.contiguous(), into_b, into_c, into_start.contiguous()]


selective_scan = of_operators(_selective_scan, _gradient)
