"""The passes of the Triton kernels of `linear_scan`, for PyTorch and JAX.

Each program walks along time on its own channels, with the state in registers. If sequences and channels give too few
programs to keep memory busy, time is cut into pieces: a first pass computes the map of each piece, a small scan of
those gives the state before each, and a last pass scans the pieces from there. Nothing waits for another program and
nothing is atomic, so results are bitwise reproducible.

Everything is computed in float32; decay, inputs, states and gradients keep their dtypes in memory.

`gpu` is the backend's module that launches kernels, `torch_triton_launch` or `jax_triton_launch`:

    chip(array)                 the numbers of the GPU's multiprocessors and of a warp's threads
    empty(array, shape=None)    an array of the same dtype, for a kernel to write
    launch(kernel, arguments, results, programs, **constants)    the results, written by the kernel

A kernel's parameters are its arguments, then its results, then its constants. Numbers are tuples of components.
"""

from types import ModuleType
from typing import NamedTuple

from keras import ops

from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.shapes import Tensor

#: How every kernel is compiled: for one warp, a product and its sum as one operation, the default of Triton until 3.9.
OPTIONS = {"num_warps": 1, "enable_fp_fusion": True}
#: Loads that a program has in flight. They stay in registers, of which a thread has 255.
LOADS = 48
#: Programs per multiprocessor with which time stays whole, and as many as pieces make. A program has up to 6 KiB in
#: flight, and a multiprocessor's memory moves 25 KB in a microsecond, the time of a load. Computed, not measured.
ENOUGH, BUSY = 2, 8
#: Pieces are multiples of so many steps, and this is the fewest steps of a piece.
STEPS, SHORTEST_PIECE = 8, 64


def scan(
    gpu: ModuleType, decay: Components, inputs: Components, initial_state: Components, marks: Marks, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    from keras_griffin.ops.recurrence.kernels.triton_kernels import piece_ends, scan

    plan, results = plan_of(gpu, inputs[0], 2 * len(inputs)), (like(gpu, inputs), like(gpu, initial_state))
    numbers, arguments = (decay, inputs), (decay, inputs, initial_state)
    return in_pieces(gpu, (piece_ends, numbers), (scan, arguments), plan, marks, results, reverse, False)


def scan_gradient(
    gpu: ModuleType,
    decay: Components,
    states: Components,
    initial_state: Components,
    marks: Marks,
    gradients: tuple[Components, Components],
    reverse: bool,
) -> tuple[Components, Components, Components]:
    """The gradients for decay, inputs and initial state."""
    from keras_griffin.ops.recurrence.kernels.triton_kernels import piece_ends, scan_gradient

    plan = plan_of(gpu, states[0], 3 * len(states))
    results = like(gpu, decay), like(gpu, states), like(gpu, initial_state)
    numbers, arguments = (decay, gradients[0]), (decay, states, initial_state, *gradients)
    return in_pieces(gpu, (piece_ends, numbers), (scan_gradient, arguments), plan, marks, results, reverse, True)


class Plan(NamedTuple):
    """How the work is divided among a kernel's programs."""

    shape: tuple[int, int, int]  # B, T and D of the arrays
    block: int  # channels of a program
    pieces: int  # of time
    steps: int  # of a piece
    rows: int  # that a program loads at once, at most as many as any piece has steps before its end


def steps_of_a_piece(batch_size: int, length: int, width: int, block: int, multiprocessors: int) -> int:
    """How many steps a program walks: all if sequences and blocks of channels keep the GPU's memory busy."""
    programs = max(1, batch_size * -(-width // block))
    # Pieces cost up to three quarters more memory traffic.
    if programs >= ENOUGH * multiprocessors:
        return length
    pieces = min(BUSY * multiprocessors // programs, length // SHORTEST_PIECE)
    return length if pieces < 2 else -(-length // (pieces * STEPS)) * STEPS


def plan_of(gpu: ModuleType, array: Tensor, numbers: int, bytes_of_a_thread: int = 4) -> Plan:
    """The plan for a kernel that reads so many arrays `(B, T, D)`, of each row so many bytes per thread, or an item."""
    batch_size, length, width = array.shape
    multiprocessors, lanes = gpu.chip(array)
    block = max(1, bytes_of_a_thread // array.dtype.itemsize) * lanes
    steps = steps_of_a_piece(batch_size, length, width, block, multiprocessors)
    rows = rows_of(min(steps, length), numbers)
    return Plan((batch_size, length, width), block, -(-length // steps), steps, rows)


def rows_of(steps: int, numbers: int) -> int:
    """How many rows a program loads at once: `LOADS` over all arrays, but no more than the steps that it walks."""
    # Each is compiled by itself, so there are few.
    return next(rows for rows in (24, 16, 8, 4, 2, 1) if rows <= steps and rows * numbers <= LOADS)


def in_pieces(
    gpu: ModuleType,
    first: tuple,
    last: tuple,
    plan: Plan,
    marks: Marks,
    results: tuple,
    reverse: bool,
    gradient: bool,
    **constants,
) -> tuple:
    """The results of a kernel that walks through every piece of a plan, after a kernel for the ends of pieces.

    `first` is the kernel that writes products and ends of pieces, and its arguments; `last` the kernel of the results,
    and its arguments, the last of which is the state before the first piece. With `gradient` both walk against the
    scan, whose direction is `reverse`. `results` are from `gpu.empty`.
    """
    flags, (kernel, arguments), ends = as_bytes(marks), last, None
    if plan.pieces > 1:
        last_first = reverse != gradient
        options = {"LAST_FIRST": last_first, "GRADIENT": gradient, **constants}
        ends = ends_of_pieces(gpu, first, plan, flags, arguments[-1], last_first, options)
    return run(gpu, kernel, plan, (*arguments, ends), flags, results, REVERSE=reverse, **constants)


def ends_of_pieces(
    gpu: ModuleType, first: tuple, plan: Plan, flags: tuple, start: Components, last_first: bool, options: dict
) -> Components:
    """The end of every piece but the last, `(B, pieces - 1, D)`, by a scan of the map from each piece's start."""
    from keras_griffin.ops.recurrence.kernels.triton_kernels import scan

    plan = plan._replace(pieces=plan.pieces - 1)
    shape = plan.shape[0], plan.pieces, plan.shape[2]
    results = like(gpu, start, shape), like(gpu, start, shape)
    products, ends = run(gpu, first[0], plan, first[1], flags, results, **options)
    whole = Plan(shape, plan.block, 1, plan.pieces, rows_of(plan.pieces, 2 * len(start)))
    forgetting, states = forgetting_pieces(flags, plan, last_first), like(gpu, start, shape)
    states, _ = run(gpu, scan, whole, (products, ends, start, None), forgetting, (states, None), REVERSE=False)
    return states


def run(gpu: ModuleType, kernel, plan: Plan, arguments: tuple, flags: tuple, results: tuple, **constants) -> tuple:
    """The results of a kernel; `arguments` precede the marks, and `flags` are from `as_bytes`."""
    marks, meaning = flags
    batch_size, length, width = plan.shape
    programs = batch_size * plan.pieces * -(-width // plan.block)
    constants |= {"meaning": meaning, "width": width, "BLOCK": plan.block, "ROWS": plan.rows}
    return gpu.launch(kernel, (*arguments, marks, length, plan.pieces, plan.steps), results, programs, **constants)


def forgetting_pieces(flags: tuple, plan: Plan, last_first: bool) -> tuple[Tensor | None, str | None]:
    """Which pieces forget the state before them, `(B, pieces)`, as marks; None without resets."""
    marks, meaning = flags
    if marks is None or meaning == "mask":
        return None, None
    count = plan.pieces * plan.steps
    taken = marks[:, plan.shape[1] - count :] if last_first else marks[:, :count]
    # A reset is the largest mark, 1, or 3 with a mask: 1 is then a reset at a masked step, which has no effect.
    resets = ops.reshape(taken, (-1, plan.pieces, plan.steps)) == (1 if meaning == "reset" else 3)
    forgotten = ops.any(resets, axis=2)
    return ops.cast(ops.flip(forgotten, axis=1) if last_first else forgotten, "uint8"), "reset"


def as_bytes(marks: Marks) -> tuple[Tensor | None, str | None]:
    """The marks as a kernel reads them, one byte per step, and what they mean: "reset", "mask" or "reset + 2 mask"."""
    reset, mask = (None if mark is None else ops.cast(mark[..., 0], "uint8") for mark in marks)
    if reset is None or mask is None:
        return (mask, None if mask is None else "mask") if reset is None else (reset, "reset")
    return reset + 2 * mask, "reset + 2 mask"


def like(gpu: ModuleType, number: Components, shape: tuple[int, ...] | None = None) -> Components:
    """Arrays for a kernel to write a number."""
    return tuple(gpu.empty(part, shape) for part in number)
