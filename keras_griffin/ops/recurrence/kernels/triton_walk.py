"""How a program of the Triton kernels walks along time: it loads a group of rows while it uses the one before.

A warp issues its instructions in order and stops at the first that needs a number still being loaded; later loads wait
too. So each turn of the loop first issues the loads of a whole group, into registers carried to the next turn, and then
uses the group of the turn before. Nothing delays the loads:

- They have no masks: the last group ends where the walk does, and rows that the group before has used are left out.
- The width is a constant of the program, so a row's address is that of its group's first row plus a constant.
- Marks are bytes, loaded with their row and interpreted when it is used.

Step u of a walk is row `origin + SIGN * u` of the arrays, here `(B T, D)`, and a group is `ROWS` steps. Names in
capitals are constants of the program, as are `step` and `meaning`.
"""

import triton
from triton import language as tl

from keras_griffin.ops.recurrence.kernels.triton_numbers import add, load, moved, stored, zeros


@triton.jit
def place(length, WIDTH: tl.constexpr, pieces, LAST_FIRST: tl.constexpr, BLOCK: tl.constexpr):
    """The sequence, piece and channels that a program works on, and the row at which the sequence's walk begins.

    Rows are int64: an array may have more elements than int32 can count.
    """
    program = tl.program_id(0)
    blocks = tl.cdiv(WIDTH, BLOCK)
    channels = program % blocks * BLOCK + tl.arange(0, BLOCK)
    batch, piece = (program // blocks // pieces).to(tl.int64), program // blocks % pieces
    origin = batch * length
    if LAST_FIRST:
        origin += length - 1
    return batch, piece, channels, origin


@triton.jit
def start_of(piece, pieces, batch, channels, WIDTH: tl.constexpr, initial, ends):
    """The state before a piece: `initial`, or the end of the previous piece."""
    inside = channels < WIDTH
    number = load(initial, batch * WIDTH + channels, inside & (piece == 0))
    if ends is not None:
        before = (batch * (pieces - 1) + piece - 1) * WIDTH + channels
        number = add(number, load(ends, before, inside & (piece > 0)))
    return number


@triton.jit
def walk(
    step, carried, constants, arrays, written, marks, meaning, span, SIGN, WIDTH, BLOCK, ROWS, ahead=None, beyond=None
):
    """`carried`, a tuple of tensors, after the steps of a span, of which there is at least one.

    Args:
        step: a function (carried, constants, numbers, kept, seen, written, offset, inside) -> carried. It stores what
            it computes in the arrays `written`, at the offset, where `inside` says so.
        carried: before the first step.
        constants: for the steps.
        arrays: a step reads the number in its row of each, as it is in memory.
        written: arrays of the numbers that a step writes.
        marks: one byte per row, or None.
        meaning: that of the marks; see `as_bytes`.
        span: the row of step 0, the first step, the one after the last, T, and the program's channels.
        ahead: an array of which a step reads, after those, the number in the next step's row; or None.
        beyond: the number that it gets there at step T - 1.
    """
    origin, begin, stop, length, channels = span
    # The last group ends where the walk does: its first rows were used with the group before it.
    last = stop - ROWS
    group = nothing_loaded(arrays, ahead, marks, BLOCK, ROWS)
    for first in range(begin - ROWS, stop, ROWS):
        now = group
        group = load_group(arrays, ahead, marks, span, tl.minimum(first + ROWS, last), SIGN, WIDTH, BLOCK, ROWS)
        # The compiler moves arithmetic to before the loads, but not out of a branch.
        if first >= begin:
            at = tl.minimum(first, last)
            carried = use_group(
                step, carried, constants, now, beyond, written, meaning, span, at, first, SIGN, WIDTH, BLOCK, ROWS
            )
    return carried


@triton.jit
def nothing_loaded(arrays, ahead, marks, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    """A group of zeros."""
    numbers, read = (), ()
    for k in tl.static_range(len(arrays)):
        numbers += (zeros(arrays[k], BLOCK),)
    if ahead is not None:
        numbers += (zeros(ahead, BLOCK),)
    if marks is not None:
        read = (tl.full((), 0, tl.uint8),)
    group = ()
    for _ in tl.static_range(ROWS):
        group += ((numbers, read),)
    return group


@triton.jit
def within(channels, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Which channels there are, in a tuple; an empty one for all. (Triton 3.6 has no functions that return None.)"""
    if WIDTH % BLOCK == 0:
        return ()
    else:
        return (channels < WIDTH,)


@triton.jit
def both(condition, conditions):
    """Whether a condition holds, and that of a tuple, which may be empty."""
    if len(conditions) == 0:
        return condition
    else:
        return condition & conditions[0]


@triton.jit
def load_group(arrays, ahead, marks, span, first, SIGN, WIDTH, BLOCK, ROWS):
    """Numbers and marks of every step from `first` on, as they are in memory."""
    origin, _, _, length, channels = span
    row, where = origin + SIGN * first, within(channels, WIDTH, BLOCK)
    at = ()
    for k in tl.static_range(len(arrays)):
        at += (moved(arrays[k], row * WIDTH + channels),)
    if ahead is not None:
        ahead = moved(ahead, row * WIDTH + channels)
    group = ()
    for i in tl.static_range(ROWS):
        numbers, read = (), ()
        for k in tl.static_range(len(at)):
            numbers += (stored(at[k], SIGN * WIDTH * i, where),)
        if ahead is not None:
            if i < ROWS - 1:
                numbers += (stored(ahead, SIGN * WIDTH * (i + 1), where),)
            else:
                # There is no row after the last.
                shift = tl.where(first + ROWS < length, SIGN * WIDTH, 0)
                numbers += (stored(moved(ahead, shift), SIGN * WIDTH * i, where),)
        if marks is not None:
            read = (tl.load(marks + row + SIGN * i),)
        group += ((numbers, read),)
    return group


@triton.jit
def use_group(step, carried, constants, group, beyond, written, meaning, span, first, begin, SIGN, WIDTH, BLOCK, ROWS):
    """`carried` after a group; steps before `begin` are left out."""
    origin, _, _, length, channels = span
    offset, inside = (origin + SIGN * first) * WIDTH + channels, within(channels, WIDTH, BLOCK)
    at = ()
    for k in tl.static_range(len(written)):
        at += (moved(written[k], offset),)
    for i in tl.static_range(ROWS):
        numbers, read = group[i]
        kept, seen = read_mark(read, meaning)
        if beyond is not None:
            if i == ROWS - 1:
                numbers = numbers[:-1] + (instead(first + ROWS == length, beyond, numbers[-1]),)
        is_new = first + i >= begin
        after = step(carried, constants, numbers, kept, seen, at, SIGN * WIDTH * i, both(is_new, inside))
        carried = instead(is_new, after, carried)
    return carried


@triton.jit
def instead(condition, first, second):
    """The tensors of the first tuple where the condition holds, elsewhere those of the second."""
    chosen = ()
    for i in tl.static_range(len(first)):
        chosen += (tl.where(condition, first[i], second[i]),)
    return chosen


@triton.jit
def read_mark(mark, meaning: tl.constexpr):
    """Whether a step keeps the past, and whether it is seen; see `as_bytes`."""
    kept, seen = True, True
    if meaning == "reset":
        kept = mark[0] == 0
    elif meaning == "mask":
        seen = mark[0] != 0
    elif meaning == "reset + 2 mask":
        # A reset at a masked step has no effect.
        kept, seen = mark[0] != 3, mark[0] >= 2
    return kept, seen
