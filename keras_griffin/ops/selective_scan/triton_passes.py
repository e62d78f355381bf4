"""The Triton kernels of `selective_scan`, for PyTorch and JAX: a state's N numbers stay in registers.

Each program walks along the whole time of one row on its own channels, and reads and writes every sequence once. The
states before chunks of time are kept for the gradient, which computes the states of one chunk at a time again. Sums
over channels and over rows are written for each program and added afterwards, so results are bitwise reproducible.
Everything is computed in float32. `gpu` is as in `recurrence/kernels/triton_passes.py`.
"""

from types import ModuleType

from keras import ops

from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.shapes import Tensor

#: Steps of a chunk. At N = 16 the kept states are half as large as the inputs.
CHUNK = 32


def scan(
    gpu: ModuleType, selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The outputs, the last state, and the states before chunks of time, `(B, chunks, N, D)`."""
    from keras_griffin.ops.selective_scan.triton_kernels import selective_scan

    start = initial_state.mT
    starts = gpu.empty(start, shape_of_starts(selection.inputs.shape, initial_state.shape))
    results = gpu.empty(selection.inputs), gpu.empty(start), starts
    outputs, final_state, starts = _run(gpu, selective_scan, selection, (start, _bytes(reset)), results)
    return outputs, final_state.mT, starts


def scan_gradient(
    gpu: ModuleType,
    selection: SelectiveScanInputs,
    starts: Tensor,
    reset: Tensor | None,
    gradients: tuple[Tensor, Tensor],
) -> tuple[SelectiveScanInputs, Tensor]:
    """The gradients for selection and initial state.

    For A each row's, `(B, D, N)`, and for b and c each block of channels', `(blocks, B, T, N)`, all three in float32.
    """
    from keras_griffin.ops.selective_scan.triton_kernels import selective_scan_gradient

    into_outputs, into_state = gradients[0], gradients[1].mT
    batch_size, numbers, width = into_state.shape
    blocks = -(-width // _block(gpu, selection))
    results = (
        gpu.empty(into_state, (batch_size, CHUNK, numbers, width)),
        gpu.empty(selection.inputs),
        gpu.empty(selection.step_sizes),
        gpu.empty(into_state),
        *(gpu.empty(into_state, (blocks, *selection.input_weights.shape)) for _ in range(2)),
        gpu.empty(into_state),
    )
    arguments = starts, _bytes(reset), into_outputs, into_state
    _, into_u, into_s, into_rates, into_b, into_c, into_start = _run(
        gpu, selective_scan_gradient, selection, arguments, results
    )
    return SelectiveScanInputs(into_u, into_s, into_rates.mT, into_b, into_c), into_start.mT


def shape_of_starts(inputs: tuple[int, ...], state: tuple[int, ...]) -> tuple[int, ...]:
    """`(B, chunks, N, D)` for inputs `(B, T, D)` and states `(B, D, N)`."""
    return inputs[0], -(-inputs[1] // CHUNK), state[2], state[1]


def _run(gpu, kernel, selection, others, results):
    """Run a kernel, which reads rates of `(N, D)`, on every row and block of channels."""
    batch_size, length, width = selection.inputs.shape
    numbers, block = selection.rates.shape[1], _block(gpu, selection)
    constants = {"width": width, "count": numbers, "NUMBERS": 1 << (numbers - 1).bit_length()}
    arguments = *selection._replace(rates=selection.rates.mT), *others, length, -(-length // CHUNK)
    programs = batch_size * -(-width // block)
    return gpu.launch(kernel, arguments, results, programs, CHUNK=CHUNK, BLOCK=block, **constants)


def _block(gpu, selection):
    """Channels of a program: one for each thread of a warp, which holds all numbers of its state."""
    return gpu.chip(selection.inputs)[1]


def _bytes(reset):
    """One byte per step."""
    return None if reset is None else ops.cast(reset, "uint8")
