"""On PyTorch with a GPU: the gates inside the kernels of the scan, in Triton; see `triton_passes.py`."""

import torch
from torch import Tensor

from keras_griffin.ops.recurrence.kernels import torch_triton_launch
from keras_griffin.ops.recurrence.kernels.torch_triton_launch import supports
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.recurrence.torch_operator import contiguous_like
from keras_griffin.ops.rg_lru import triton_passes
from keras_griffin.ops.rg_lru.gates import flat, packed
from keras_griffin.ops.rg_lru.torch_loop import of_operators

__all__ = ["rg_lru", "supports"]


@torch.library.custom_op("keras_griffin::rg_lru_triton", mutates_args=())
def _rg_lru(
    tensors: list[Tensor], reset: Tensor | None, mask: Tensor | None, exponent: float, reverse: bool
) -> list[Tensor]:
    arguments = *packed(tensors), Marks(reset, mask), exponent, reverse
    states, final_state = triton_passes.scan(torch_triton_launch, *arguments)
    return [*states, *final_state]


@_rg_lru.register_fake
def _(tensors, *others):
    unit, initial_state = packed(tensors)
    return [contiguous_like(x) for x in (*unit.inputs, *initial_state)]


@torch.library.custom_op("keras_griffin::rg_lru_triton_gradient", mutates_args=())
def _gradient(
    tensors: list[Tensor],
    states: list[Tensor],
    gradients: list[Tensor],
    reset: Tensor | None,
    mask: Tensor | None,
    exponent: float,
    reverse: bool,
) -> list[Tensor]:
    unit, initial_state = packed(tensors)
    given = tuple(gradients[: len(states)]), tuple(gradients[len(states) :])
    arguments = unit, tuple(states), initial_state, Marks(reset, mask), given, exponent, reverse
    return flat(*triton_passes.scan_gradient(torch_triton_launch, *arguments))


rg_lru = of_operators(_rg_lru, _gradient)
