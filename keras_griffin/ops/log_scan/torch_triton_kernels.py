"""The Triton kernels of `log_scan`; see `torch_triton.py`, and `log_numbers.py` for the arithmetic.

Arrays, pieces and walks are those of the kernels of `linear_scan`. A number here is one tensor; pointers are tuples.
"""

import triton
from triton import language as tl

from keras_griffin.ops.linear_scan.torch_triton_kernels import extend, identity
from keras_griffin.ops.linear_scan.torch_triton_numbers import store, widened
from keras_griffin.ops.linear_scan.torch_triton_walk import place, start_of, walk


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
def effective(decay, inputs, kept, seen):
    """Decay and input of a step with the marks applied; at a masked step, 0 and -inf."""
    (d,) = widened(decay)
    (x,) = widened(inputs)
    x = tl.where(kept | (x >= -1e30) | (x != x), x, -1e30)
    return tl.where(seen, d, 0.0), tl.where(seen, x, float("-inf"))


@triton.jit
def log_scan(
    decay,
    inputs,
    initial_state,
    ends,
    states,
    final_state,
    marks,
    meaning: tl.constexpr,
    length,
    width: tl.constexpr,
    pieces,
    steps,
    REVERSE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Every state of each piece, and the last piece's last state if wanted.

    `states` are the array of states and, if they are wanted, that of the log-odds of past against input.
    """
    batch, piece, channels, origin = place(length, width, pieces, REVERSE, BLOCK)
    stop = tl.minimum((piece + 1) * steps, length)
    state = walk(
        log_step,
        start_of(piece, pieces, batch, channels, width, initial_state, ends),
        (),
        (decay, inputs),
        None,
        None,
        (states,),
        marks,
        meaning,
        origin,
        piece * steps,
        stop,
        length,
        channels,
        1 - 2 * REVERSE,
        width,
        BLOCK,
        ROWS,
    )
    if final_state is not None:
        store(final_state, batch * width + channels, state, (channels < width) & (stop == length))


@triton.jit
def log_step(state, constants, numbers, kept, seen, written, offset, inside):
    """One step of `log_scan`."""
    d, x = effective(numbers[0], numbers[1], kept, seen)
    past = tl.where(kept, state[0] + d, float("-inf"))
    state = log_add(past, x)
    if len(written[0]) == 1:
        store(written[0], offset, (state,), inside)
    else:
        odds = tl.where(x > float("-inf"), past - tl.where(x > float("-inf"), x, 0.0), float("inf"))
        store(written[0], offset, (state, odds), inside)
    return (state,)


@triton.jit
def log_piece_ends(
    decay,
    inputs,
    products,
    ends,
    marks,
    meaning: tl.constexpr,
    length,
    width: tl.constexpr,
    pieces,
    steps,
    LAST_FIRST: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """The map of each piece but the last from its start: `log_add(product + start, end)`; see `piece_ends`."""
    batch, piece, channels, origin = place(length, width, pieces, LAST_FIRST, BLOCK)
    nothing = (
        tl.full((BLOCK,), 0.0, tl.float32),
        tl.full((BLOCK,), float("-inf"), tl.float32),
        tl.full((BLOCK,), 1, tl.int32),
    )
    product, end, _ = walk(
        log_ends_step,
        nothing,
        (),
        (decay, inputs),
        None,
        None,
        (),
        marks,
        meaning,
        origin + (1 - 2 * LAST_FIRST) * (piece * steps + steps - 1),
        0,
        steps,
        length,
        channels,
        2 * LAST_FIRST - 1,
        width,
        BLOCK,
        ROWS,
    )
    offset = (batch * pieces + piece) * width + channels
    store(products, offset, (product,), channels < width)
    store(ends, offset, (end,), channels < width)


@triton.jit
def log_ends_step(carried, constants, numbers, kept, seen, written, offset, inside):
    """One step of `log_piece_ends`."""
    product, end, open = carried
    d, x = effective(numbers[0], numbers[1], kept, seen)
    # Values that a later step forgets may be anything, even NaN.
    end = log_add(end, product + tl.where(open != 0, x, float("-inf")))
    open = tl.where(kept, open, 0)
    return product + tl.where(open != 0, d, float("-inf")), end, open


@triton.jit
def log_gradient_ends(
    odds,
    states_gradient,
    products,
    ends,
    marks,
    meaning: tl.constexpr,
    length,
    width: tl.constexpr,
    pieces,
    steps,
    LAST_FIRST: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """That map for the gradients, as in `piece_ends`, with the shares of the past as decays."""
    batch, piece, channels, origin = place(length, width, pieces, LAST_FIRST, BLOCK)
    product, end, _ = walk(
        log_gradient_ends_step,
        identity(odds, BLOCK),
        (),
        (odds, states_gradient),
        None,
        None,
        (),
        marks,
        meaning,
        origin + (1 - 2 * LAST_FIRST) * (piece * steps + steps - 1),
        0,
        steps,
        length,
        channels,
        2 * LAST_FIRST - 1,
        width,
        BLOCK,
        ROWS,
    )
    offset = (batch * pieces + piece) * width + channels
    store(products, offset, (product,), channels < width)
    store(ends, offset, (end,), channels < width)


@triton.jit
def log_gradient_ends_step(carried, constants, numbers, kept, seen, written, offset, inside):
    """One step of `log_gradient_ends`."""
    (odds,) = widened(numbers[0])
    past, _ = shares_of(odds)
    return extend(carried, (past,), widened(numbers[1]), kept, True)


@triton.jit
def log_scan_gradient(
    odds,
    states_gradient,
    final_gradient,
    ends,
    decay_gradient,
    inputs_gradient,
    initial_gradient,
    marks,
    meaning: tl.constexpr,
    length,
    width: tl.constexpr,
    pieces,
    steps,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """G_t = y_t + g_{t+1} G_{t+1}, dd_t = g_t G_t, dx_t = (1 - g_t) G_t, from the last step to the first."""
    batch, piece, channels, origin = place(length, width, pieces, True, BLOCK)
    stop = tl.minimum((piece + 1) * steps, length)
    into_state = walk(
        log_gradient_step,
        start_of(piece, pieces, batch, channels, width, final_gradient, ends),
        (),
        (odds, states_gradient),
        None,
        None,
        (decay_gradient, inputs_gradient),
        marks,
        meaning,
        origin,
        piece * steps,
        stop,
        length,
        channels,
        -1,
        width,
        BLOCK,
        ROWS,
    )
    store(initial_gradient, batch * width + channels, into_state, (channels < width) & (stop == length))


@triton.jit
def log_gradient_step(carried, constants, numbers, kept, seen, written, offset, inside):
    """One step of `log_scan_gradient`."""
    (odds,) = widened(numbers[0])
    (g,) = widened(numbers[1])
    past, new = shares_of(odds)
    into_state = g + carried[0]
    store(written[1], offset, (tl.where(seen, new * into_state, 0.0),), inside)
    into_state = tl.where(kept, past * into_state, 0.0)
    store(written[0], offset, (tl.where(seen, into_state, 0.0),), inside)
    return (into_state,)
