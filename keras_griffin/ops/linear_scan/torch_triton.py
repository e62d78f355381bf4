"""On PyTorch with a GPU: kernels in Triton that read and write every array once; see `triton_passes.py`."""

import torch
from torch import Tensor

from keras_griffin.ops.linear_scan.torch_derivatives import with_derivatives
from keras_griffin.ops.recurrence.kernels import torch_triton_launch, triton_passes
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.recurrence.numbers import Components

supports = torch_triton_launch.supports


def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, marks: Marks, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    results = scan_with_derivatives(list(decay), list(inputs), list(initial_state), *marks, reverse)
    return tuple(results[: len(inputs)]), tuple(results[len(inputs) :])


@torch.library.custom_op("keras_griffin::linear_scan_triton", mutates_args=())
def _linear_scan(
    decay: list[Tensor],
    inputs: list[Tensor],
    initial_state: list[Tensor],
    reset: Tensor | None,
    mask: Tensor | None,
    reverse: bool,
) -> list[Tensor]:
    numbers = tuple(decay), tuple(inputs), tuple(initial_state)
    states, final_state = triton_passes.scan(torch_triton_launch, *numbers, Marks(reset, mask), reverse)
    return [*states, *final_state]


@_linear_scan.register_fake
def _(decay, inputs, initial_state, reset, mask, reverse):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*inputs, *initial_state)]


@torch.library.custom_op("keras_griffin::linear_scan_triton_gradient", mutates_args=())
def _gradient(
    decay: list[Tensor],
    states: list[Tensor],
    initial_state: list[Tensor],
    reset: Tensor | None,
    mask: Tensor | None,
    gradients: list[Tensor],
    reverse: bool,
) -> list[Tensor]:
    numbers, parts = (tuple(decay), tuple(states), tuple(initial_state)), len(decay)
    given = tuple(gradients[:parts]), tuple(gradients[parts:])
    results = triton_passes.scan_gradient(torch_triton_launch, *numbers, Marks(reset, mask), given, reverse)
    return [component for number in results for component in number]


@_gradient.register_fake
def _(decay, states, initial_state, reset, mask, gradients, reverse):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*decay, *states, *initial_state)]


#: The operator, which PyTorch differentiates.
scan_with_derivatives = with_derivatives(_linear_scan, _gradient)
