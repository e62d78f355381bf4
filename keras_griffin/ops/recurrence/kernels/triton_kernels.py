"""The Triton kernels of `linear_scan`; see `triton_passes.py`."""

import triton
from triton import language as tl

from keras_griffin.ops.recurrence.kernels.triton_numbers import (
    add,
    conjugate,
    constant,
    load,
    multiply,
    select,
    store,
    widened,
)
from keras_griffin.ops.recurrence.kernels.triton_walk import place, start_of, walk


@triton.jit
def scan(
    decay,
    inputs,
    initial_state,
    ends,
    marks,
    length,
    pieces,
    steps,
    states,
    final_state,
    meaning: tl.constexpr,
    width: tl.constexpr,
    REVERSE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Every state of each piece, and the last piece's last state if wanted."""
    batch, piece, channels, origin = place(length, width, pieces, REVERSE, BLOCK)
    stop = tl.minimum((piece + 1) * steps, length)
    state = start_of(piece, pieces, batch, channels, width, initial_state, ends)
    span = (origin, piece * steps, stop, length, channels)
    SIGN: tl.constexpr = 1 - 2 * REVERSE
    state = walk(scan_step, state, (), (decay, inputs), (states,), marks, meaning, span, SIGN, width, BLOCK, ROWS)
    if final_state is not None:
        store(final_state, batch * width + channels, state, (channels < width) & (stop == length))


@triton.jit
def scan_step(state, constants, numbers, kept, seen, written, offset, inside):
    """h_t = a_t h_{t-1} + x_t."""
    a, x = effective_decay(numbers[0], kept, seen), select(seen, widened(numbers[1]), 0.0)
    state = update(state, a, x, kept)
    store(written[0], offset, state, inside)
    return state


@triton.jit
def update(state, decay, inputs, kept):
    """The next state. Zero times NaN is NaN: a decay of 0 is not enough."""
    return add(select(kept, multiply(decay, state), 0.0), inputs)


@triton.jit
def effective_decay(decay, kept, seen):
    """The decay with the marks applied."""
    return select(seen, select(kept, widened(decay), 0.0), 1.0)


@triton.jit
def piece_ends(
    decay,
    inputs,
    marks,
    length,
    pieces,
    steps,
    products,
    ends,
    meaning: tl.constexpr,
    width: tl.constexpr,
    LAST_FIRST: tl.constexpr,
    GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """The map of each piece but the last from its start: `product * start + end`; with `GRADIENT`, `inputs` are g.

    It walks from the piece's end, so the steps read last, still in the cache, are read first when the piece is scanned.
    """
    batch, piece, channels, origin = place(length, width, pieces, LAST_FIRST, BLOCK)
    start, arrays = identity(decay, BLOCK), (decay, inputs)
    span = (origin + (1 - 2 * LAST_FIRST) * (piece * steps + steps - 1), 0, steps, length, channels)
    SIGN: tl.constexpr = 2 * LAST_FIRST - 1
    carried = walk(ends_step, start, (GRADIENT,), arrays, (), marks, meaning, span, SIGN, width, BLOCK, ROWS)
    offset = (batch * pieces + piece) * width + channels
    store(products, offset, carried[: len(decay)], channels < width)
    store(ends, offset, carried[len(decay) : -1], channels < width)


@triton.jit
def ends_step(carried, constants, numbers, kept, seen, written, offset, inside):
    """One step of `piece_ends`."""
    x = widened(numbers[1])
    if not constants[0]:
        x = select(seen, x, 0.0)
    return extend(carried, effective_decay(numbers[0], kept, seen), x, kept, constants[0])


@triton.jit
def identity(number, BLOCK: tl.constexpr):
    """Product and end of a piece without steps, and that no step so far has forgotten the ones before it."""
    return constant(number, 1.0, BLOCK) + constant(number, 0.0, BLOCK) + (tl.full((BLOCK,), 1, tl.int32),)


@triton.jit
def extend(carried, decay, value, kept, GRADIENT: tl.constexpr):
    """Product and end of a piece extended by a step at its start; with `GRADIENT` of dh_t = conj(a_t) (dh_{t+1} + g_t).

    The last of `carried` is 0 once a step has forgotten those before it; a number, as registers for conditions are few.
    """
    product, end, open = carried[: len(decay)], carried[len(decay) : -1], carried[-1]
    if GRADIENT:
        # A reset stops the gradient from later steps, and also the one that is added there.
        open = tl.where(kept, open, 0)
        product = multiply(product, select(open != 0, conjugate(decay), 0.0))
        return product + add(end, multiply(product, select(open != 0, value, 0.0))) + (open,)
    else:
        end = add(end, multiply(product, select(open != 0, value, 0.0)))
        open = tl.where(kept, open, 0)
        return multiply(product, select(open != 0, decay, 0.0)) + end + (open,)


@triton.jit
def scan_gradient(
    decay,
    states,
    initial_state,
    states_gradient,
    final_gradient,
    ends,
    marks,
    length,
    pieces,
    steps,
    decay_gradient,
    inputs_gradient,
    initial_gradient,
    meaning: tl.constexpr,
    width: tl.constexpr,
    REVERSE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """dx_t = g_t + dh_{t+1}, da_t = dx_t conj(h_{t-1}), dh_t = conj(a_t) dx_t; `REVERSE` is the scan's direction."""
    batch, piece, channels, origin = place(length, width, pieces, not REVERSE, BLOCK)
    stop = tl.minimum((piece + 1) * steps, length)
    ends_here = (channels < width) & (stop == length)
    into_state = start_of(piece, pieces, batch, channels, width, final_gradient, ends)
    start = load(initial_state, batch * width + channels, ends_here)
    arrays, written = (decay, states_gradient), (decay_gradient, inputs_gradient)
    span = (origin, piece * steps, stop, length, channels)
    SIGN: tl.constexpr = 2 * REVERSE - 1
    into_state = walk(
        gradient_step, into_state, (), arrays, written, marks, meaning, span, SIGN, width, BLOCK, ROWS, states, start
    )
    store(initial_gradient, batch * width + channels, into_state, ends_here)


@triton.jit
def gradient_step(into_state, constants, numbers, kept, seen, written, offset, inside):
    """One step of `scan_gradient`."""
    a, g, h = effective_decay(numbers[0], kept, seen), widened(numbers[1]), widened(numbers[2])
    into_inputs = add(g, into_state)
    into_decay = select(kept, multiply(into_inputs, conjugate(h)), 0.0)
    store(written[0], offset, select(seen, into_decay, 0.0), inside)
    store(written[1], offset, select(seen, into_inputs, 0.0), inside)
    return select(kept, multiply(conjugate(a), into_inputs), 0.0)
