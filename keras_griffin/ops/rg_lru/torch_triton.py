"""On PyTorch with a GPU: the gates inside the kernels of the scan, in Triton; see `triton_passes.py`."""

import torch
from torch import Tensor

from keras_griffin.ops.recurrence.kernels import torch_triton_launch
from keras_griffin.ops.recurrence.kernels.torch_triton_launch import supports
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.rg_lru import triton_passes
from keras_griffin.ops.rg_lru.inputs import GatedScanInputs
from keras_griffin.ops.rg_lru.torch_operator import with_derivatives

__all__ = ["rg_lru", "supports"]


def rg_lru(
    unit: GatedScanInputs, initial_state: Components, marks: Marks, exponent: float, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    results = rg_lru_with_derivatives(
        list(unit.inputs), *unit[1:], list(initial_state), *marks, float(exponent), reverse
    )
    parts = len(initial_state)
    return tuple(results[:parts]), tuple(results[parts:])


@torch.library.custom_op("keras_griffin::rg_lru_triton", mutates_args=())
def _rg_lru(
    inputs: list[Tensor],
    input_gate_logits: Tensor,
    recurrence_gate_logits: Tensor,
    decay_parameter: Tensor,
    phase: Tensor | None,
    initial_state: list[Tensor],
    reset: Tensor | None,
    mask: Tensor | None,
    exponent: float,
    reverse: bool,
) -> list[Tensor]:
    unit = GatedScanInputs(tuple(inputs), input_gate_logits, recurrence_gate_logits, decay_parameter, phase)
    options = tuple(initial_state), Marks(reset, mask), exponent, reverse
    states, final_state = triton_passes.scan(torch_triton_launch, unit, *options)
    return [*states, *final_state]


@_rg_lru.register_fake
def _(inputs, *others):
    initial_state = others[4]
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*inputs, *initial_state)]


@torch.library.custom_op("keras_griffin::rg_lru_triton_gradient", mutates_args=())
def _gradient(
    inputs: list[Tensor],
    input_gate_logits: Tensor,
    recurrence_gate_logits: Tensor,
    decay_parameter: Tensor,
    phase: Tensor | None,
    states: list[Tensor],
    initial_state: list[Tensor],
    reset: Tensor | None,
    mask: Tensor | None,
    gradients: list[Tensor],
    exponent: float,
    reverse: bool,
) -> list[Tensor]:
    unit = GatedScanInputs(tuple(inputs), input_gate_logits, recurrence_gate_logits, decay_parameter, phase)
    given = tuple(gradients[: len(inputs)]), tuple(gradients[len(inputs) :])
    options = tuple(states), tuple(initial_state), Marks(reset, mask), given, exponent, reverse
    into_unit, into_start = triton_passes.scan_gradient(torch_triton_launch, unit, *options)
    return [*into_unit.inputs, *(x for x in into_unit[1:] if x is not None), *into_start]


#: The operator, which PyTorch differentiates.
rg_lru_with_derivatives = with_derivatives(_rg_lru, _gradient)
