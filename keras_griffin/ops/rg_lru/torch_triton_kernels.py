"""The Triton kernels of `rg_lru`; see `torch_triton.py`, and `gates.py` for the equations.

Arrays, pieces and walks are those of the kernels of `linear_scan`.
"""

import triton
from triton import language as tl

from keras_griffin.ops.linear_scan.torch_triton_kernels import (
    add,
    conjugate,
    constant,
    extend,
    load,
    marks_at,
    multiply,
    nothing_forgotten,
    place,
    select,
    start_of,
    state_before,
    store,
)


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def expm1(x):
    """exp(x) - 1 for x <= 0: a polynomial near zero, where the difference would lose digits."""
    series = 1.0 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720 + x * (1 / 5040))))))
    return tl.where(x > -0.35, x * series, tl.exp(x) - 1.0)


@triton.jit
def root_of(magnitude_minus_one):
    """sqrt(1 - |a|^2)."""
    return tl.sqrt(-magnitude_minus_one * (2.0 + magnitude_minus_one))


@triton.jit
def load_channels(array, channels, width):
    """One number for each channel, in float32."""
    return tl.load(array + channels, channels < width, other=0.0).to(tl.float32)


@triton.jit
def load_seen(pointers, offset, where, seen):
    """A number; zero at a masked step."""
    return select(seen, load(pointers, offset, where, 0.0), 0.0)


@triton.jit
def magnitude_of(power, softplus, kept):
    """|a| - 1."""
    return tl.where(kept, expm1(-power * softplus), -1.0)


@triton.jit
def cosine_and_sine(x):
    """cos(x) and sin(x), to the precision of float32 while |x| is below some thousand.

    The compilers' versions reduce any argument, for which every thread needs memory and a table.
    """
    quarters = tl.floor(x * 0.6366197723675814 + 0.5)
    # Pi / 2 in three parts: the products with the first two are exact.
    rest = x - quarters * 1.5703125
    rest = rest - quarters * 0.0004837512969970703
    rest = rest - quarters * 7.549790126404332e-08
    square = rest * rest
    sine = rest * (1.0 + square * (-1 / 6 + square * (1 / 120 + square * (-1 / 5040 + square * (1 / 362880)))))
    cosine = 1.0 + square * (-1 / 2 + square * (1 / 24 + square * (-1 / 720 + square * (1 / 40320))))
    quadrant = quarters.to(tl.int32)
    swapped = (quadrant & 1) == 1
    first, second = tl.where(swapped, sine, cosine), tl.where(swapped, cosine, sine)
    first = tl.where(((quadrant + 1) & 2) == 2, -first, first)
    return first, tl.where((quadrant & 2) == 2, -second, second)


@triton.jit
def turn_of(power, phase):
    """exp(i c r theta); 1 in a real unit."""
    if phase is None:
        return (1.0,)
    else:
        return cosine_and_sine(power * phase)


@triton.jit
def scaled(number, factor):
    """The product with a real factor."""
    if len(number) == 1:
        return (number[0] * factor,)
    else:
        return number[0] * factor, number[1] * factor


@triton.jit
def decay_at(recurrence_logits, softplus, phase, exponent, kept, seen):
    """|a| - 1, and the decay."""
    power = exponent * sigmoid(recurrence_logits)
    magnitude_minus_one = magnitude_of(power, softplus, kept)
    decay = scaled(turn_of(power, phase), 1.0 + magnitude_minus_one)
    return magnitude_minus_one, select(seen, decay, 1.0)


@triton.jit
def gates_at(
    inputs, input_logits, recurrence_logits, softplus, phase, exponent, reset, mask, row, offset, where, within
):
    """Decay and gated input of a step (1 and 0 beyond the last), and whether it keeps the past."""
    kept, seen = marks_at(reset, mask, row, within)
    x = load_seen(inputs, offset, where, seen)
    (i,) = load_seen(input_logits, offset, where, seen)
    (r,) = load_seen(recurrence_logits, offset, where, seen)
    magnitude_minus_one, decay = decay_at(r, softplus, phase, exponent, kept, seen & within)
    return decay, scaled(x, root_of(magnitude_minus_one) * sigmoid(i)), kept


@triton.jit
def gated_scan(
    inputs,
    input_logits,
    recurrence_logits,
    softplus,
    phase,
    exponent,
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
    """Every state of each piece, and the last piece's last state."""
    batch, piece, channels, origin, sign = place(length, width, pieces, REVERSE, BLOCK)
    inside = channels < width
    softplus = load_channels(softplus, channels, width)
    if phase is not None:
        phase = load_channels(phase, channels, width)
    state = start_of(piece, pieces, batch, channels, width, initial_state, ends)
    stop = tl.minimum((piece + 1) * steps, length)
    for first in range(piece * steps, stop, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):
            row, within = origin + sign * (first + i), first + i < stop
            offset, where = row * width + channels, inside & within
            a, x, kept = gates_at(
                inputs,
                input_logits,
                recurrence_logits,
                softplus,
                phase,
                exponent,
                reset,
                mask,
                row,
                offset,
                where,
                within,
            )
            rows += ((a, x, kept, offset, where),)
        for i in tl.static_range(ROWS):
            a, x, kept, offset, where = rows[i]
            # Zero times NaN is NaN: a decay of 0 is not enough.
            state = add(select(kept, multiply(a, state), 0.0), x)
            store(states, offset, state, where)
    store(final_state, batch * width + channels, state, inside & (stop == length))


@triton.jit
def gated_piece_ends(
    inputs,
    input_logits,
    recurrence_logits,
    softplus,
    phase,
    exponent,
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
    """The map of each piece but the last from its start, as in `piece_ends`.

    With `GRADIENT`, `inputs` are the gradients for the states, and the input gate isn't read.
    """
    batch, piece, channels, origin, sign = place(length, width, pieces, LAST_FIRST, BLOCK)
    inside = channels < width
    softplus = load_channels(softplus, channels, width)
    if phase is not None:
        phase = load_channels(phase, channels, width)
    product, end, open = constant(inputs, 1.0, BLOCK), constant(inputs, 0.0, BLOCK), nothing_forgotten(BLOCK)
    for first in range(0, steps, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):
            row = origin + sign * (piece * steps + steps - 1 - first - i)
            offset = row * width + channels
            if GRADIENT:
                kept, seen = marks_at(reset, mask, row, True)
                (r,) = load_seen(recurrence_logits, offset, inside, seen)
                x = load(inputs, offset, inside, 0.0)
                _, a = decay_at(r, softplus, phase, exponent, kept, seen)
            else:
                a, x, kept = gates_at(
                    inputs,
                    input_logits,
                    recurrence_logits,
                    softplus,
                    phase,
                    exponent,
                    reset,
                    mask,
                    row,
                    offset,
                    inside,
                    True,
                )
            rows += ((a, x, kept),)
        for i in tl.static_range(ROWS):
            a, x, kept = rows[i]
            product, end, open = extend(product, end, open, a, x, kept, GRADIENT)
    offset = (batch * pieces + piece) * width + channels
    store(products, offset, product, inside)
    store(ends, offset, end, inside)


@triton.jit
def gated_scan_gradient(
    inputs,
    input_logits,
    recurrence_logits,
    softplus,
    phase,
    exponent,
    states,
    initial_state,
    states_gradient,
    final_gradient,
    ends,
    inputs_gradient,
    input_logits_gradient,
    recurrence_logits_gradient,
    log_sums,
    angle_sums,
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
    """The gradients for x and the logits, and each program's sums for those of Lambda and theta.

    `log_sums` are of the gradient for log|a| times c r, and `angle_sums` of that for the angle times c r.
    """
    batch, piece, channels, origin, sign = place(length, width, pieces, not REVERSE, BLOCK)
    inside = channels < width
    softplus = load_channels(softplus, channels, width)
    if phase is not None:
        phase = load_channels(phase, channels, width)
    into_state = start_of(piece, pieces, batch, channels, width, final_gradient, ends)
    stop = tl.minimum((piece + 1) * steps, length)
    start = load(initial_state, batch * width + channels, inside & (stop == length), 0.0)
    log_sum, angle_sum = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for first in range(piece * steps, stop, ROWS):
        rows = ()
        for i in tl.static_range(ROWS):
            row, within = origin + sign * (first + i), first + i < stop
            offset, where = row * width + channels, inside & within
            kept, seen = marks_at(reset, mask, row, within)
            x = load_seen(inputs, offset, where, seen)
            (i_logits,) = load_seen(input_logits, offset, where, seen)
            (r_logits,) = load_seen(recurrence_logits, offset, where, seen)
            h = state_before(states, start, row + sign, channels, width, within, first + i + 1 < length)
            g = load(states_gradient, offset, where, 0.0)
            rows += ((x, i_logits, r_logits, h, g, kept, seen, offset, where, within),)
        for i in tl.static_range(ROWS):
            x, i_logits, r_logits, h, g, kept, seen, offset, where, within = rows[i]
            input_gate, recurrence_gate = sigmoid(i_logits), sigmoid(r_logits)
            power = exponent * recurrence_gate
            magnitude_minus_one = magnitude_of(power, softplus, kept)
            magnitude, root = 1.0 + magnitude_minus_one, root_of(magnitude_minus_one)
            turn = turn_of(power, phase)
            decay = select(seen & within, scaled(turn, magnitude), 1.0)

            gated = add(g, into_state)
            into_state = select(kept, multiply(conjugate(decay), gated), 0.0)
            gated, h = select(seen & within, gated, 0.0), select(seen, select(kept, h, 0.0), 0.0)
            # The gradient for the logarithm of the decay, without the square root's contribution; its imaginary part is
            # that for the angle.
            into_log = scaled(multiply(multiply(gated, conjugate(h)), conjugate(turn)), magnitude)
            product = multiply(gated, conjugate(x))[0]
            # As in `bounded_slope`; 1 - |a|^2, of which this is the root, has the derivative -2 |a|^2.
            slope = 0.5 / tl.maximum(root, 5e-4)
            log_gradient = into_log[0] - product * input_gate * slope * 2.0 * magnitude * magnitude
            log_sum += log_gradient * power
            into_power = -log_gradient * softplus
            if phase is not None:
                angle_sum += into_log[1] * power
                into_power += into_log[1] * phase

            store(inputs_gradient, offset, scaled(gated, root * input_gate), where)
            into_logits = product * root * input_gate * (1.0 - input_gate)
            store(input_logits_gradient, offset, (into_logits,), where)
            store(recurrence_logits_gradient, offset, (into_power * power * (1.0 - recurrence_gate),), where)
    store(initial_gradient, batch * width + channels, into_state, inside & (stop == length))
    offset = (batch * pieces + piece) * width + channels
    store(log_sums, offset, (log_sum,), inside)
    if phase is not None:
        store(angle_sums, offset, (angle_sum,), inside)
