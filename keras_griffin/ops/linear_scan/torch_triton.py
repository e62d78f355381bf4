"""On PyTorch with a GPU: kernels in Triton that read and write every array once.

Each program walks along time on its own channels, with the state in registers. A step waits for the one before it, so
what keeps memory busy is many programs, and groups of rows that each of them loads ahead (`torch_triton_walk.py`). If
sequences and channels give too few programs, time is cut into pieces: a first pass computes, for each piece, the
product of its decays and its final state from zero, a small scan of those gives the state before each piece, and a last
pass scans the pieces from there. The price is that decay and inputs are read twice: five arrays are moved instead of
three, and for the gradient seven instead of five, less what is still in the cache. The alternative, one pass in which
each piece waits for the one before it, moves the minimum, but needs programs that make progress together and memory
that is read while another program writes it. With separate passes nothing waits, nothing is atomic, and results are
bitwise reproducible.

Everything is computed in float32; decay, inputs, states and gradients keep their dtypes in memory.
"""

import importlib.util
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.ops.linear_scan.marks import Marks
from keras_griffin.ops.linear_scan.torch_derivatives import with_derivatives

#: How every kernel is compiled: for one warp, a product and its sum as one operation, the default of Triton until 3.9.
OPTIONS = {"num_warps": 1, "enable_fp_fusion": True}
#: Loads that a program has in flight. They stay in registers, of which a thread has 255.
LOADS = 48
#: Programs per multiprocessor with which time stays whole, and as many as pieces make. A program has up to 6 KiB in
#: flight, and a multiprocessor's memory moves 25 KB in a microsecond, the time of a load. Computed, not measured.
ENOUGH, BUSY = 2, 8
#: Pieces are multiples of so many steps, and this is the fewest steps of a piece.
STEPS, SHORTEST_PIECE = 8, 64


def supports(facts) -> str | None:
    """All but float64, on GPUs that PyTorch uses through CUDA or ROCm."""
    if facts.device != "gpu":
        return "needs a GPU"
    if not (torch.version.cuda or torch.version.hip):
        return "needs PyTorch for CUDA or ROCm"
    if importlib.util.find_spec("triton") is None:
        return "needs Triton, which is not installed"
    return "computes in float32" if facts.dtype == "float64" else None


def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, marks: Marks, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    results = scan_with_derivatives(list(decay), list(inputs), list(initial_state), *marks, reverse)
    return tuple(results[: len(inputs)]), tuple(results[len(inputs) :])


class Plan(NamedTuple):
    """How the work is divided among a kernel's programs."""

    #: Channels of a program.
    block: int
    #: Pieces of time.
    pieces: int
    #: Steps of a piece.
    steps: int
    #: Rows that a program loads at once, at most as many as any piece has steps before its end.
    rows: int


def steps_of_a_piece(batch_size: int, length: int, width: int, block: int, multiprocessors: int) -> int:
    """How many steps a program walks: all of them if sequences and channels alone keep the GPU's memory busy.

    Args:
        batch_size: B.
        length: T.
        width: D.
        block: channels of a program.
        multiprocessors: the GPU's number of them.

    Returns:
        `length`, or a multiple of `STEPS`.
    """
    programs = max(1, batch_size * -(-width // block))
    # Pieces cost up to three quarters more memory traffic.
    if programs >= ENOUGH * multiprocessors:
        return length
    pieces = min(BUSY * multiprocessors // programs, length // SHORTEST_PIECE)
    return length if pieces < 2 else -(-length // (pieces * STEPS)) * STEPS


def plan_of(array: Tensor, numbers: int, bytes_of_a_thread: int = 4) -> Plan:
    """The plan for a kernel.

    Args:
        array: one that it reads, `(B, T, D)`.
        numbers: how many arrays it reads.
        bytes_of_a_thread: what a thread reads of a row of each, at least; an item, at least.
    """
    batch_size, length, width = array.shape
    multiprocessors, lanes = chip(array.device)
    block = max(1, bytes_of_a_thread // array.itemsize) * lanes
    steps = steps_of_a_piece(batch_size, length, width, block, multiprocessors)
    return Plan(block, -(-length // steps), steps, rows_of(min(steps, length), numbers))


def rows_of(steps: int, numbers: int) -> int:
    """How many rows a program loads at once: `LOADS` over all arrays, but no more than the steps that it walks."""
    # Each is compiled by itself, so there are few.
    return next(rows for rows in (24, 16, 8, 4, 2, 1) if rows <= steps and rows * numbers <= LOADS)


def chip(device: torch.device) -> tuple[int, int]:
    """The number of a GPU's multiprocessors, and of a warp's threads."""
    properties = torch.cuda.get_device_properties(device)
    return properties.multi_processor_count, properties.warp_size


def launch(kernel, array: Tensor, plan: Plan, pieces: int, *arguments, **options):
    """Run a kernel on every channel and on that many pieces of the sequences of an array `(B, T, D)`."""
    batch_size, length, width = array.shape
    programs = batch_size * pieces * -(-width // plan.block)
    with torch.cuda.device_of(array):
        kernel[(programs,)](
            *arguments, length, width, pieces, plan.steps, BLOCK=plan.block, ROWS=plan.rows, **options, **OPTIONS
        )


def starts_of_pieces(ends_kernel, arguments: tuple, start: Sequence[Tensor], array: Tensor, plan: Plan, **options):
    """The end of every piece but the last, `(B, pieces - 1, D)`; None for a single piece.

    Args:
        ends_kernel: the kernel that writes products and ends of pieces.
        arguments: of that kernel; products and ends go before the last two, the marks and their meaning.
        start: `(B, D)`, the state before the first piece.
        array: one of the arrays that are cut into pieces.
        plan: the plan for it.
        **options: of `ends_kernel`.
    """
    pieces = plan.pieces - 1
    if pieces == 0:
        return None
    from keras_griffin.ops.linear_scan.torch_triton_kernels import scan

    shape = (array.shape[0], pieces, array.shape[2])
    products, ends, states = ([empty(h, shape) for h in start] for _ in range(3))
    launch(ends_kernel, array, plan, pieces, *arguments[:-2], (*products,), (*ends,), *arguments[-2:], **options)
    whole = Plan(plan.block, 1, pieces, rows_of(pieces, 2 * len(start)))
    forgetting = forgetting_pieces(*arguments[-2:], plan, pieces, options["LAST_FIRST"])
    numbers = ((*products,), (*ends,), (*start,), None, (*states,), None, *forgetting)
    launch(scan, states[0], whole, 1, *numbers, REVERSE=False)
    return (*states,)


def forgetting_pieces(
    marks: Tensor | None, meaning: str | None, plan: Plan, pieces: int, last_first: bool
) -> tuple[Tensor | None, str | None]:
    """Which of the first pieces forget the state before them, `(B, pieces)`, as marks; None without resets."""
    if marks is None or meaning == "mask":
        return None, None
    count = pieces * plan.steps
    taken = marks[:, marks.shape[1] - count :] if last_first else marks[:, :count]
    # A reset is the largest mark, 1, or 3 with a mask: 1 is then a reset at a masked step, which has no effect.
    largest = 1 if meaning == "reset" else 3
    forgotten = (taken.unflatten(1, (pieces, -1)).amax(2) == largest).view(torch.uint8)
    return forgotten.flip(1) if last_first else forgotten, "reset"


def empty(array: Tensor, shape=None) -> Tensor:
    """An uninitialised array of the same dtype."""
    return torch.empty(array.shape if shape is None else shape, dtype=array.dtype, device=array.device)


def in_order(tensors) -> tuple[Tensor, ...]:
    """The tensors, made contiguous."""
    return tuple(tensor.contiguous() for tensor in tensors)


def as_bytes(reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor | None, str | None]:
    """The marks as a kernel reads them, one byte per step, and what they mean: "reset", "mask" or "reset + 2 mask"."""
    reset, mask = (mark if mark is None else mark[..., 0].contiguous().view(torch.uint8) for mark in (reset, mask))
    if reset is None or mask is None:
        return (mask, None if mask is None else "mask") if reset is None else (reset, "reset")
    return torch.add(reset, mask, alpha=2), "reset + 2 mask"


@torch.library.custom_op("keras_griffin::linear_scan_triton", mutates_args=())
def _linear_scan(
    decay: list[Tensor],
    inputs: list[Tensor],
    initial_state: list[Tensor],
    reset: Tensor | None,
    mask: Tensor | None,
    reverse: bool,
) -> list[Tensor]:
    from keras_griffin.ops.linear_scan.torch_triton_kernels import piece_ends, scan

    a, x, start = (in_order(number) for number in (decay, inputs, initial_state))
    marks, plan = as_bytes(reset, mask), plan_of(x[0], 2 * len(x))
    states, final_state = tuple(map(empty, x)), tuple(map(empty, start))
    ends = starts_of_pieces(piece_ends, (a, x, *marks), start, x[0], plan, LAST_FIRST=reverse, GRADIENT=False)
    launch(scan, x[0], plan, plan.pieces, a, x, start, ends, states, final_state, *marks, REVERSE=reverse)
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
    from keras_griffin.ops.linear_scan.torch_triton_kernels import piece_ends, scan_gradient

    parts = len(decay)
    numbers = (decay, states, initial_state, gradients[:parts], gradients[parts:])
    a, h, start, into_states, into_final = (in_order(number) for number in numbers)
    marks, plan = as_bytes(reset, mask), plan_of(h[0], 3 * parts)
    results = into_decay, into_inputs, into_start = [tuple(map(empty, number)) for number in (a, h, start)]
    ends = starts_of_pieces(
        piece_ends, (a, into_states, *marks), into_final, h[0], plan, LAST_FIRST=not reverse, GRADIENT=True
    )
    arguments = (a, h, start, into_states, into_final, ends, into_decay, into_inputs, into_start, *marks)
    launch(scan_gradient, h[0], plan, plan.pieces, *arguments, REVERSE=reverse)
    return [component for number in results for component in number]


@_gradient.register_fake
def _(decay, states, initial_state, reset, mask, gradients, reverse):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*decay, *states, *initial_state)]


#: The operator, which PyTorch differentiates.
scan_with_derivatives = with_derivatives(_linear_scan, _gradient)
