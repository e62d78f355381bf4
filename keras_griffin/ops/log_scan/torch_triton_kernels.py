"""The Triton kernels of `log_scan`; see `torch_triton.py`, and `log_numbers.py` for the arithmetic.

Arrays, pieces and walks are those of the kernels of `linear_scan`. A number here is one tensor; pointers are tuples.
"""

import triton
from triton import language as tl

from keras_griffin.ops.linear_scan.torch_triton_kernels import (
    constant,
    extend,
    load,
    marks_at,
    nothing_forgotten,
    place,
    start_of,
    store,
)


@triton.jit
def log_add(first, second):
    """log(exp(first) + exp(second))."""
    is_first = first >= second
    larger, smaller = tl.where(is_first, first, second), tl.where(is_first, second, first)
    # Infinity minus infinity is NaN.
    ratio = tl.exp(smaller - tl.where(larger > float("-inf"), larger, 0.0))
    total = 1.0 + ratio
    # log1p: what the sum loses of the ratio is put back as a factor.
    lost = tl.where(total == 1.0, 1.0, total - 1.0)
    return larger + tl.where(total == 1.0, ratio, tl.log(total) * (ratio / lost))


@triton.jit
def shares_of(odds):
    """sigmoid(odds) and sigmoid(-odds), by one exponential of a negative number."""
    ratio = tl.exp(-tl.abs(odds))
    larger = 1.0 / (1.0 + ratio)
    smaller = ratio * larger
    return tl.where(odds >= 0.0, larger, smaller), tl.where(odds >= 0.0, smaller, larger)


@triton.jit
def step_at(decay, inputs, reset, mask, row, offset, where, within):
    """Decay and input of a step with the marks applied, and whether it keeps the past; beyond the last, 0 and -inf."""
    kept, seen = marks_at(reset, mask, row, within)
    (d,) = load(decay, offset, where, 0.0)
    (x,) = load(inputs, offset, where, float("-inf"))
    x = tl.where(kept | (x >= -1e30) | (x != x), x, -1e30)
    return tl.where(seen, d, 0.0), tl.where(seen, x, float("-inf")), kept


@triton.jit
def log_scan(
    decay,
    inputs,
    initial_state,
    ends,
    states,
    final_state,
    reset,
    mask,
    length,
    width,
    pieces,
    steps,
    REVERSE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Every state of each piece, and the last piece's last state if wanted.

    `states` are the array of states and, if they are wanted, that of the log-odds of past against input.
    """
    batch, piece, channels, origin, sign = place(length, width, pieces, REVERSE, BLOCK)
    inside = channels < width
    (state,) = start_of(piece, pieces, batch, channels, width, initial_state, ends)
    stop = tl.minimum((piece + 1) * steps, length)
    for first in range(piece * steps, stop, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):
            row, within = origin + sign * (first + i), first + i < stop
            offset, where = row * width + channels, inside & within
            d, x, kept = step_at(decay, inputs, reset, mask, row, offset, where, within)
            rows += ((d, x, kept, offset, where),)
        for i in tl.static_range(ROWS):
            d, x, kept, offset, where = rows[i]
            past = tl.where(kept, state + d, float("-inf"))
            state = log_add(past, x)
            if len(states) == 1:
                store(states, offset, (state,), where)
            else:
                odds = tl.where(x > float("-inf"), past - tl.where(x > float("-inf"), x, 0.0), float("inf"))
                store(states, offset, (state, odds), where)
    if final_state is not None:
        store(final_state, batch * width + channels, (state,), inside & (stop == length))


@triton.jit
def log_piece_ends(
    decay,
    inputs,
    products,
    ends,
    reset,
    mask,
    length,
    width,
    pieces,
    steps,
    LAST_FIRST: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """The map of each piece but the last from its start: `log_add(product + start, end)`; see `piece_ends`."""
    batch, piece, channels, origin, sign = place(length, width, pieces, LAST_FIRST, BLOCK)
    inside = channels < width
    product, end = tl.full((BLOCK,), 0.0, tl.float32), tl.full((BLOCK,), float("-inf"), tl.float32)
    open = nothing_forgotten(BLOCK)
    for first in range(0, steps, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):
            # Every piece but the last has full length.
            row = origin + sign * (piece * steps + steps - 1 - first - i)
            rows += (step_at(decay, inputs, reset, mask, row, row * width + channels, inside, True),)
        for i in tl.static_range(ROWS):
            d, x, kept = rows[i]
            # Values that a later step forgets may be anything, even NaN.
            end = log_add(end, product + tl.where(open, x, float("-inf")))
            open = open & kept
            product = product + tl.where(open, d, float("-inf"))
    offset = (batch * pieces + piece) * width + channels
    store(products, offset, (product,), inside)
    store(ends, offset, (end,), inside)


@triton.jit
def log_gradient_ends(
    odds,
    states_gradient,
    products,
    ends,
    reset,
    mask,
    length,
    width,
    pieces,
    steps,
    LAST_FIRST: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """That map for the gradients, as in `piece_ends`, with the shares of the past as decays."""
    batch, piece, channels, origin, sign = place(length, width, pieces, LAST_FIRST, BLOCK)
    inside = channels < width
    product, end, open = constant(odds, 1.0, BLOCK), constant(odds, 0.0, BLOCK), nothing_forgotten(BLOCK)
    for first in range(0, steps, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):
            row = origin + sign * (piece * steps + steps - 1 - first - i)
            offset = row * width + channels
            kept, seen = marks_at(reset, mask, row, True)
            (r,) = load(odds, offset, inside, 0.0)
            rows += ((r, load(states_gradient, offset, inside, 0.0), kept),)
        for i in tl.static_range(ROWS):
            r, g, kept = rows[i]
            past, new = shares_of(r)
            product, end, open = extend(product, end, open, (past,), g, kept, True)
    offset = (batch * pieces + piece) * width + channels
    store(products, offset, product, inside)
    store(ends, offset, end, inside)


@triton.jit
def log_scan_gradient(
    odds,
    states_gradient,
    final_gradient,
    ends,
    decay_gradient,
    inputs_gradient,
    initial_gradient,
    reset,
    mask,
    length,
    width,
    pieces,
    steps,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """G_t = y_t + g_{t+1} G_{t+1}, dd_t = g_t G_t, dx_t = (1 - g_t) G_t, from the last step to the first."""
    batch, piece, channels, origin, sign = place(length, width, pieces, True, BLOCK)
    inside = channels < width
    (into_state,) = start_of(piece, pieces, batch, channels, width, final_gradient, ends)
    stop = tl.minimum((piece + 1) * steps, length)
    for first in range(piece * steps, stop, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):
            row, within = origin + sign * (first + i), first + i < stop
            offset, where = row * width + channels, inside & within
            kept, seen = marks_at(reset, mask, row, within)
            # Beyond the first step of all, everything is the past's.
            (r,) = load(odds, offset, where, float("inf"))
            (g,) = load(states_gradient, offset, where, 0.0)
            rows += ((r, g, kept, seen, offset, where),)
        for i in tl.static_range(ROWS):
            r, g, kept, seen, offset, where = rows[i]
            past, new = shares_of(r)
            into_state = g + into_state
            store(inputs_gradient, offset, (tl.where(seen, new * into_state, 0.0),), where)
            into_state = tl.where(kept, past * into_state, 0.0)
            store(decay_gradient, offset, (tl.where(seen, into_state, 0.0),), where)
    store(initial_gradient, batch * width + channels, (into_state,), inside & (stop == length))
