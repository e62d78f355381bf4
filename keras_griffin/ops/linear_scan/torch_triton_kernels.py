"""The Triton kernels of `linear_scan`, with functions that those of `rg_lru` share; see `torch_triton.py`.

A number is a tuple of components, and so is a pointer to numbers. A program walks through one piece of time on `BLOCK`
channels; step u of its walk is row `origin + sign * u` of the arrays, which are `(B T, D)` here. It loads `ROWS` steps
before it uses the first of them, so that many loads are in flight at once.
"""

import triton
from triton import language as tl


@triton.jit
def load(pointers, offset, where, neutral):
    """A number in float32; the real `neutral` where nothing is loaded."""
    real = tl.load(pointers[0] + offset, where, other=neutral).to(tl.float32)
    if len(pointers) == 1:
        return (real,)
    else:
        return real, tl.load(pointers[1] + offset, where, other=0.0).to(tl.float32)


@triton.jit
def store(pointers, offset, number, where):
    """Write a number, rounded to the array's dtype."""
    for part in tl.static_range(len(pointers)):
        tl.store(pointers[part] + offset, number[part], where)


@triton.jit
def add(first, second):
    """The sum."""
    if len(first) == 1:
        return (first[0] + second[0],)
    else:
        return first[0] + second[0], first[1] + second[1]


@triton.jit
def multiply(first, second):
    """The product."""
    if len(first) == 1:
        return (first[0] * second[0],)
    else:
        a, b = first
        c, d = second
        return a * c - b * d, a * d + b * c


@triton.jit
def conjugate(number):
    """The complex conjugate; a real number is its own."""
    if len(number) == 1:
        return number
    else:
        return number[0], -number[1]


@triton.jit
def select(condition, number, neutral):
    """The number where the condition holds, elsewhere the real `neutral`."""
    if len(number) == 1:
        return (tl.where(condition, number[0], neutral),)
    else:
        return tl.where(condition, number[0], neutral), tl.where(condition, number[1], 0.0)


@triton.jit
def constant(number, value, BLOCK: tl.constexpr):
    """The real `value` on every channel, with as many components as `number`."""
    real = tl.full((BLOCK,), value, tl.float32)
    if len(number) == 1:
        return (real,)
    else:
        return real, tl.full((BLOCK,), 0.0, tl.float32)


@triton.jit
def place(length, width, pieces, LAST_FIRST: tl.constexpr, BLOCK: tl.constexpr):
    """The part of the arrays that a program works on.

    Returns:
        (batch, piece, channels, origin, sign): which sequence, which piece of its walk, which channels, and how steps
        map to rows. Rows are int64: an array may have more elements than int32 can count.
    """
    program = tl.program_id(0)
    blocks = tl.cdiv(width, BLOCK)
    channels = program % blocks * BLOCK + tl.arange(0, BLOCK)
    batch, piece = (program // blocks // pieces).to(tl.int64), program // blocks % pieces
    origin, sign = batch * length, 1
    if LAST_FIRST:
        origin, sign = origin + length - 1, -1
    return batch, piece, channels, origin, sign


@triton.jit
def marks_at(reset, mask, row, within):
    """Whether a step keeps the past, and whether it is seen; a reset at a masked step has no effect."""
    kept, seen = True, True
    if mask is not None:
        seen = tl.load(mask + row, within, other=1) != 0
    if reset is not None:
        kept = tl.load(reset + row, within, other=0) == 0
        if mask is not None:
            kept = kept | (seen == 0)
    return kept, seen


@triton.jit
def start_of(piece, pieces, batch, channels, width, initial, ends):
    """The state before a piece: `initial`, or the end of the previous piece."""
    inside = channels < width
    number = load(initial, batch * width + channels, inside & (piece == 0), 0.0)
    if ends is not None:
        before = (batch * (pieces - 1) + piece - 1) * width + channels
        number = add(number, load(ends, before, inside & (piece > 0), 0.0))
    return number


@triton.jit
def effective_decay(decay, offset, where, kept, seen):
    """The decay with the marks applied; 1 beyond the last step."""
    return select(seen, select(kept, load(decay, offset, where, 1.0), 0.0), 1.0)


@triton.jit
def scan(
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
    """Every state of each piece, and the last piece's last state if wanted."""
    batch, piece, channels, origin, sign = place(length, width, pieces, REVERSE, BLOCK)
    inside = channels < width
    state = start_of(piece, pieces, batch, channels, width, initial_state, ends)
    stop = tl.minimum((piece + 1) * steps, length)
    for first in range(piece * steps, stop, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):
            row, within = origin + sign * (first + i), first + i < stop
            offset, where = row * width + channels, inside & within
            kept, seen = marks_at(reset, mask, row, within)
            a = effective_decay(decay, offset, where, kept, seen)
            x = select(seen, load(inputs, offset, where, 0.0), 0.0)
            rows += ((a, x, kept, offset, where),)
        for i in tl.static_range(ROWS):
            a, x, kept, offset, where = rows[i]
            # Zero times NaN is NaN: a decay of 0 is not enough.
            state = add(select(kept, multiply(a, state), 0.0), x)
            store(states, offset, state, where)
    if final_state is not None:
        store(final_state, batch * width + channels, state, inside & (stop == length))


@triton.jit
def piece_ends(
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
    GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """The map of each piece but the last from its start: `product * start + end`.

    With `GRADIENT`, that of dh_t = conj(a_t) (dh_{t+1} + g_t), where `inputs` are g. It walks through the piece from
    its end, so that the steps read last, which are still in the cache, are read first when the piece is scanned.
    """
    batch, piece, channels, origin, sign = place(length, width, pieces, LAST_FIRST, BLOCK)
    inside = channels < width
    product, end, open = constant(decay, 1.0, BLOCK), constant(decay, 0.0, BLOCK), nothing_forgotten(BLOCK)
    for first in range(0, steps, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):
            # Every piece but the last has full length.
            row = origin + sign * (piece * steps + steps - 1 - first - i)
            offset = row * width + channels
            kept, seen = marks_at(reset, mask, row, True)
            a = effective_decay(decay, offset, inside, kept, seen)
            x = load(inputs, offset, inside, 0.0)
            if not GRADIENT:
                x = select(seen, x, 0.0)
            rows += ((a, x, kept),)
        for i in tl.static_range(ROWS):
            a, x, kept = rows[i]
            product, end, open = extend(product, end, open, a, x, kept, GRADIENT)
    offset = (batch * pieces + piece) * width + channels
    store(products, offset, product, inside)
    store(ends, offset, end, inside)


@triton.jit
def nothing_forgotten(BLOCK: tl.constexpr):
    """True on every channel: no step so far has forgotten the ones before it."""
    return tl.full((BLOCK,), 1, tl.int1)


@triton.jit
def extend(product, end, open, decay, value, kept, GRADIENT: tl.constexpr):
    """Product and end of a piece extended by one step at its start; see `piece_ends`.

    `open` is False once a step has forgotten the ones before it, which may then hold anything.
    """
    if GRADIENT:
        # A reset stops the gradient from later steps, and also the one that is added there.
        open = open & kept
        product = multiply(product, select(open, conjugate(decay), 0.0))
        return product, add(end, multiply(product, select(open, value, 0.0))), open
    else:
        end = add(end, multiply(product, select(open, value, 0.0)))
        open = open & kept
        return multiply(product, select(open, decay, 0.0)), end, open


@triton.jit
def scan_gradient(
    decay,
    states,
    initial_state,
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
    REVERSE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """dx_t = g_t + dh_{t+1}, da_t = dx_t conj(h_{t-1}), dh_t = conj(a_t) dx_t, from the last step to the first.

    `REVERSE` is that of the scan.
    """
    batch, piece, channels, origin, sign = place(length, width, pieces, not REVERSE, BLOCK)
    inside = channels < width
    into_state = start_of(piece, pieces, batch, channels, width, final_gradient, ends)
    stop = tl.minimum((piece + 1) * steps, length)
    start = load(initial_state, batch * width + channels, inside & (stop == length), 0.0)
    for first in range(piece * steps, stop, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):
            row, within = origin + sign * (first + i), first + i < stop
            offset, where = row * width + channels, inside & within
            kept, seen = marks_at(reset, mask, row, within)
            a = effective_decay(decay, offset, where, kept, seen)
            h = state_before(states, start, row + sign, channels, width, within, first + i + 1 < length)
            g = load(states_gradient, offset, where, 0.0)
            rows += ((a, h, g, kept, seen, offset, where),)
        for i in tl.static_range(ROWS):
            a, h, g, kept, seen, offset, where = rows[i]
            into_inputs = add(g, into_state)
            into_decay = select(kept, multiply(into_inputs, conjugate(h)), 0.0)
            into_state = select(kept, multiply(conjugate(a), into_inputs), 0.0)
            store(decay_gradient, offset, select(seen, into_decay, 0.0), where)
            store(inputs_gradient, offset, select(seen, into_inputs, 0.0), where)
    store(initial_gradient, batch * width + channels, into_state, inside & (stop == length))


@triton.jit
def state_before(states, start, row, channels, width, within, has_step):
    """The state before a step: that of the previous step, in `row`, or the start if there is none."""
    where = (channels < width) & within & has_step
    state = load(states, row * width + channels, where, 0.0)
    if len(state) == 1:
        return (tl.where(has_step, state[0], start[0]),)
    else:
        return tl.where(has_step, state[0], start[0]), tl.where(has_step, state[1], start[1])
