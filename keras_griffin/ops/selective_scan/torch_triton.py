"""On PyTorch with a GPU: kernels in Triton that keep a state's N numbers in registers.

Each program walks along the whole time of one row on its own channels, and reads and writes every sequence once. The
states before chunks of time are kept for the gradient, which computes the states of one chunk at a time again. Sums
over channels and over rows are written for each program and added afterwards: nothing is atomic, and results are
bitwise reproducible.

Everything is computed in float32; sequences and gradients keep their dtypes in memory.
"""

import torch
from torch import Tensor

from keras_griffin.ops.linear_scan import torch_triton as scan
from keras_griffin.ops.linear_scan.torch_triton import OPTIONS, empty, in_order, supports
from keras_griffin.ops.selective_scan.hidden import on_hidden
from keras_griffin.ops.selective_scan.selection import Selection
from keras_griffin.ops.selective_scan.torch_operator import with_gradient

__all__ = ["selective_scan", "supports"]

#: Steps of a chunk. At N = 16 the kept states are half as large as the inputs.
CHUNK = 32


@on_hidden
def selective_scan(selection: Selection, initial_state: Tensor, reset: Tensor | None) -> tuple[Tensor, Tensor]:
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
    from keras_griffin.ops.selective_scan import torch_triton_kernels

    u, s, a, b, c = _selection(inputs, step_sizes, rates, input_weights, output_weights)
    start = initial_state.mT.contiguous()
    outputs, final_state, starts = empty(u), empty(start), empty(start, _shape_of_starts(u, start))
    arguments = (u, s, a, b, c, start, _bytes(reset), outputs, final_state, starts)
    _launch(torch_triton_kernels.selective_scan, u, start, arguments)
    return outputs, final_state.mT.contiguous(), starts


@_selective_scan.register_fake
def _(inputs, step_sizes, rates, input_weights, output_weights, initial_state, reset):
    starts = initial_state.new_empty(_shape_of_starts(inputs, initial_state.mT))
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
    from keras_griffin.ops.selective_scan import torch_triton_kernels

    u, s, a, b, c = _selection(inputs, step_sizes, rates, input_weights, output_weights)
    into_outputs, into_state = outputs_gradient.contiguous(), final_gradient.mT.contiguous()
    batch_size, numbers, width = into_state.shape
    before = empty(into_state, (batch_size, CHUNK, numbers, width))
    into_u, into_s, into_rates, into_start = empty(u), empty(s), empty(into_state), empty(into_state)
    sums = [empty(into_state, (-(-width // _block(u)), *b.shape)) for _ in range(2)]
    given = (u, s, a, b, c, starts.contiguous(), _bytes(reset), into_outputs, into_state)
    arguments = (*given, before, into_u, into_s, into_rates, *sums, into_start)
    _launch(torch_triton_kernels.selective_scan_gradient, u, into_state, arguments)
    into_b, into_c = (x.sum(0).to(like.dtype) for x, like in zip(sums, (b, c), strict=True))
    return [into_u, into_s, into_rates.mT.contiguous(), into_b, into_c, into_start.mT.contiguous()]


#: The operator, which PyTorch differentiates.
selective_scan_with_gradient = with_gradient(_selective_scan, _gradient)


def _launch(kernel, inputs, state, arguments):
    """Run a kernel on every row and block of channels of inputs `(B, T, D)` with states `(B, N, D)`."""
    batch_size, length, width = inputs.shape
    numbers, block = state.shape[1], _block(inputs)
    sizes = {"CHUNK": CHUNK, "NUMBERS": 1 << (numbers - 1).bit_length(), "BLOCK": block}
    arguments = (*arguments, length, width, numbers, -(-length // CHUNK))
    with torch.cuda.device_of(inputs):
        _run(kernel, batch_size * -(-width // block), arguments, sizes)


def _run(kernel, programs, arguments, sizes):
    kernel[(programs,)](*arguments, **sizes, **OPTIONS)


def _block(inputs):
    """Channels of a program: one for each thread of a warp, which holds all numbers of its state."""
    return scan.chip(inputs.device)[1]


def _selection(inputs, step_sizes, rates, input_weights, output_weights):
    """As a kernel reads it: rates are `(N, D)`."""
    return in_order((inputs, step_sizes, rates.mT, input_weights, output_weights))


def _bytes(reset):
    """One byte per step."""
    return None if reset is None else reset.contiguous().view(torch.uint8)


def _shape_of_starts(inputs, state):
    """`(B, chunks, N, D)`."""
    return inputs.shape[0], -(-inputs.shape[1] // CHUNK), *state.shape[1:]
