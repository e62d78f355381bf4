"""The passes of the Triton kernels of `linear_scan`, for PyTorch and JAX.

Each program walks along time on its own channels, with the state in registers. A step waits for the one before it, so
what keeps memory busy is many programs, and groups of rows that each of them loads ahead (`triton_walk.py`). If
sequences and channels give too few programs, time is cut into pieces: a first pass computes, for each piece, the
product of its decays and its final state from zero, a small scan of those gives the state before each piece, and a last
pass scans the pieces from there. The price is that decay and inputs are read twice: five arrays are moved instead of
three, and for the gradient seven instead of five, less what is still in the cache. The alternative, one pass in which
each piece waits for the one before it, moves the minimum, but needs programs that make progress together and memory
that is read while another program writes it. With separate passes nothing waits, nothing is atomic, and results are
bitwise reproducible.

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

    flags, plan = as_bytes(marks), plan_of(gpu, inputs[0], 2 * len(inputs))
    constants = {"LAST_FIRST": reverse, "GRADIENT": False}
    ends = starts_of_pieces(gpu, piece_ends, plan, (decay, inputs), flags, initial_state, **constants)
    results = like(gpu, inputs), like(gpu, initial_state)
    return run(gpu, scan, plan, (decay, inputs, initial_state, ends), flags, results, REVERSE=reverse)


def scan_gradient(
    gpu: ModuleType,
    decay: Components,
    states: Components,
    initial_state: Components,
    marks: Marks,
    gradients: tuple[Components, Components],
    reverse: bool,
) -> tuple[Components, Components, Components]:
    """The gradients for decay, inputs and initial state, from those for the results of `scan`."""
    from keras_griffin.ops.recurrence.kernels.triton_kernels import piece_ends, scan_gradient

    flags, plan = as_bytes(marks), plan_of(gpu, states[0], 3 * len(states))
    into_states, into_final = gradients
    constants = {"LAST_FIRST": not reverse, "GRADIENT": True}
    ends = starts_of_pieces(gpu, piece_ends, plan, (decay, into_states), flags, into_final, **constants)
    results = tuple(like(gpu, number) for number in (decay, states, initial_state))
    arguments = decay, states, initial_state, into_states, into_final, ends
    return run(gpu, scan_gradient, plan, arguments, flags, results, REVERSE=reverse)


class Plan(NamedTuple):
    """How the work is divided among a kernel's programs."""

    #: B, T and D of the arrays.
    shape: tuple[int, int, int]
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


def plan_of(gpu: ModuleType, array: Tensor, numbers: int, bytes_of_a_thread: int = 4) -> Plan:
    """The plan for a kernel.

    Args:
        gpu: see above.
        array: one that it reads, `(B, T, D)`.
        numbers: how many arrays it reads.
        bytes_of_a_thread: what a thread reads of a row of each, at least; an item, at least.
    """
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


def run(gpu: ModuleType, kernel, plan: Plan, arguments: tuple, flags: tuple, results: tuple, **constants) -> tuple:
    """The results of a kernel that walks through every piece of a plan.

    Args:
        gpu: see above.
        kernel: the kernel.
        plan: the plan.
        arguments: what precedes the marks.
        flags: from `as_bytes`.
        results: from `gpu.empty`.
        **constants: those of the kernel alone.
    """
    marks, meaning = flags
    batch_size, length, width = plan.shape
    programs = batch_size * plan.pieces * -(-width // plan.block)
    constants |= {"meaning": meaning, "width": width, "BLOCK": plan.block, "ROWS": plan.rows}
    return gpu.launch(kernel, (*arguments, marks, length, plan.pieces, plan.steps), results, programs, **constants)


def starts_of_pieces(
    gpu: ModuleType, ends_kernel, plan: Plan, arguments: tuple, flags: tuple, start: Components, **constants
) -> Components | None:
    """The end of every piece but the last, `(B, pieces - 1, D)`; None for a single piece.

    Args:
        gpu: see above.
        ends_kernel: the kernel that writes products and ends of pieces.
        plan: of the whole scan.
        arguments: as for `run`, and so are `flags` and `constants`.
        flags: see `arguments`.
        start: `(B, D)`, the state before the first piece.
        **constants: see `arguments`.
    """
    if plan.pieces == 1:
        return None
    from keras_griffin.ops.recurrence.kernels.triton_kernels import scan

    first, (batch_size, _, width) = plan._replace(pieces=plan.pieces - 1), plan.shape
    shape = batch_size, first.pieces, width
    results = like(gpu, start, shape), like(gpu, start, shape)
    products, ends = run(gpu, ends_kernel, first, arguments, flags, results, **constants)
    whole = Plan(shape, plan.block, 1, first.pieces, rows_of(first.pieces, 2 * len(start)))
    forgetting, states = forgetting_pieces(flags, first, constants["LAST_FIRST"]), like(gpu, start, shape)
    states, _ = run(gpu, scan, whole, (products, ends, start, None), forgetting, (states, None), REVERSE=False)
    return states


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
