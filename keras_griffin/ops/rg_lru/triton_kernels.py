"""The Triton kernels of `rg_lru`: those of `linear_scan` with the equations of `gates.py`; see `triton_passes.py`."""

import triton
from triton import language as tl

from keras_griffin.ops.recurrence.kernels.triton_kernels import extend, identity, update
from keras_griffin.ops.recurrence.kernels.triton_numbers import add, conjugate, load, multiply, select, store, widened
from keras_griffin.ops.recurrence.kernels.triton_walk import place, start_of, walk


@triton.jit
def exp(x):
    """The exponential, without the instructions by which `tl.exp` keeps subnormal numbers."""
    return tl.exp2(x * 1.4426950408889634)


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)); the square of a reciprocal root takes two instructions, and a division six."""
    root = tl.rsqrt(1.0 + exp(-x))
    return root * root


@triton.jit
def expm1(x):
    """exp(x) - 1 for x <= 0: a polynomial near zero, where the difference would lose digits."""
    series = 1.0 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720 + x * (1 / 5040))))))
    return tl.where(x > -0.35, x * series, exp(x) - 1.0)


@triton.jit
def root_of(magnitude_minus_one):
    """sqrt(1 - |a|^2) and its reciprocal, which is finite at zero."""
    square = -magnitude_minus_one * (2.0 + magnitude_minus_one)
    reciprocal = tl.rsqrt(tl.maximum(square, 1e-37))
    return square * reciprocal, reciprocal


@triton.jit
def load_unit(softplus, phase, exponent, channels, WIDTH: tl.constexpr):
    """The constants of the steps, the first two in float32: the second is a tuple, empty in a real unit."""
    softplus, phases = tl.load(softplus + channels, channels < WIDTH, other=0.0).to(tl.float32), ()
    if phase is not None:
        phases = (tl.load(phase + channels, channels < WIDTH, other=0.0).to(tl.float32),)
    return softplus, phases, exponent


@triton.jit
def seen_number(number, seen):
    """A number in float32; zero at a masked step."""
    return select(seen, widened(number), 0.0)


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
def turn_of(power, phases):
    """exp(i c r theta); 1 in a real unit."""
    if len(phases) == 0:
        return (1.0,)
    else:
        return cosine_and_sine(power * phases[0])


@triton.jit
def scaled(number, factor):
    """The product with a real factor."""
    if len(number) == 1:
        return (number[0] * factor,)
    else:
        return number[0] * factor, number[1] * factor


@triton.jit
def decay_at(recurrence_logits, unit, kept, seen):
    """|a| - 1, and the decay."""
    softplus, phases, exponent = unit
    (r,) = seen_number(recurrence_logits, seen)
    power = exponent * sigmoid(r)
    magnitude_minus_one = magnitude_of(power, softplus, kept)
    decay = scaled(turn_of(power, phases), 1.0 + magnitude_minus_one)
    return magnitude_minus_one, select(seen, decay, 1.0)


@triton.jit
def gates_at(inputs, input_logits, recurrence_logits, unit, kept, seen):
    """Decay and gated input of a step."""
    x = seen_number(inputs, seen)
    (i,) = seen_number(input_logits, seen)
    magnitude_minus_one, decay = decay_at(recurrence_logits, unit, kept, seen)
    root, _ = root_of(magnitude_minus_one)
    return decay, scaled(x, root * sigmoid(i))


@triton.jit
def gated_scan(
    inputs,
    input_logits,
    recurrence_logits,
    softplus,
    phase,
    initial_state,
    ends,
    marks,
    length,
    pieces,
    steps,
    states,
    final_state,
    exponent: tl.constexpr,
    meaning: tl.constexpr,
    width: tl.constexpr,
    REVERSE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Every state of each piece, and the last piece's last state."""
    batch, piece, channels, origin = place(length, width, pieces, REVERSE, BLOCK)
    stop = tl.minimum((piece + 1) * steps, length)
    state = start_of(piece, pieces, batch, channels, width, initial_state, ends)
    unit, arrays = load_unit(softplus, phase, exponent, channels, width), (inputs, input_logits, recurrence_logits)
    span = (origin, piece * steps, stop, length, channels)
    SIGN: tl.constexpr = 1 - 2 * REVERSE
    state = walk(gated_step, state, unit, arrays, (states,), marks, meaning, span, SIGN, width, BLOCK, ROWS)
    store(final_state, batch * width + channels, state, (channels < width) & (stop == length))


@triton.jit
def gated_step(state, unit, numbers, kept, seen, written, offset, inside):
    """One step of `gated_scan`."""
    x, i, r = numbers
    decay, x = gates_at(x, i, r, unit, kept, seen)
    state = update(state, decay, x, kept)
    store(written[0], offset, state, inside)
    return state


@triton.jit
def gated_piece_ends(
    inputs,
    input_logits,
    recurrence_logits,
    softplus,
    phase,
    marks,
    length,
    pieces,
    steps,
    products,
    ends,
    exponent: tl.constexpr,
    meaning: tl.constexpr,
    width: tl.constexpr,
    LAST_FIRST: tl.constexpr,
    GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """The map of each piece but the last from its start, as in `piece_ends`.

    With `GRADIENT`, `inputs` are the gradients for the states, and the input gate isn't read.
    """
    batch, piece, channels, origin = place(length, width, pieces, LAST_FIRST, BLOCK)
    arrays = (inputs, recurrence_logits)
    if not GRADIENT:
        arrays += (input_logits,)
    start, unit = identity(inputs, BLOCK), load_unit(softplus, phase, exponent, channels, width)
    span = (origin + (1 - 2 * LAST_FIRST) * (piece * steps + steps - 1), 0, steps, length, channels)
    SIGN: tl.constexpr = 2 * LAST_FIRST - 1
    carried = walk(gated_ends_step, start, unit, arrays, (), marks, meaning, span, SIGN, width, BLOCK, ROWS)
    offset = (batch * pieces + piece) * width + channels
    store(products, offset, carried[: len(inputs)], channels < width)
    store(ends, offset, carried[len(inputs) : -1], channels < width)


@triton.jit
def gated_ends_step(carried, unit, numbers, kept, seen, written, offset, inside):
    """One step of `gated_piece_ends`; without the input gate's logits, for the gradient."""
    if len(numbers) == 2:
        _, decay = decay_at(numbers[1], unit, kept, seen)
        return extend(carried, decay, widened(numbers[0]), kept, True)
    else:
        decay, x = gates_at(numbers[0], numbers[2], numbers[1], unit, kept, seen)
        return extend(carried, decay, x, kept, False)


@triton.jit
def gated_scan_gradient(
    inputs,
    input_logits,
    recurrence_logits,
    softplus,
    phase,
    states,
    initial_state,
    states_gradient,
    final_gradient,
    ends,
    marks,
    length,
    pieces,
    steps,
    inputs_gradient,
    input_logits_gradient,
    recurrence_logits_gradient,
    log_sums,
    angle_sums,
    initial_gradient,
    exponent: tl.constexpr,
    meaning: tl.constexpr,
    width: tl.constexpr,
    REVERSE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """The gradients for x and the logits, and each program's sums for those of Lambda and theta.

    `log_sums` are of the gradient for log|a| times c r, and `angle_sums` of that for the angle times c r.
    """
    batch, piece, channels, origin = place(length, width, pieces, not REVERSE, BLOCK)
    stop = tl.minimum((piece + 1) * steps, length)
    ends_here = (channels < width) & (stop == length)
    carried = start_of(piece, pieces, batch, channels, width, final_gradient, ends)
    carried += (tl.zeros((BLOCK,), tl.float32),)
    if phase is not None:
        carried += (tl.zeros((BLOCK,), tl.float32),)
    unit = load_unit(softplus, phase, exponent, channels, width)
    start = load(initial_state, batch * width + channels, ends_here)
    arrays = (inputs, input_logits, recurrence_logits, states_gradient)
    written = (inputs_gradient, input_logits_gradient, recurrence_logits_gradient)
    span = (origin, piece * steps, stop, length, channels)
    SIGN: tl.constexpr = 2 * REVERSE - 1
    carried = walk(
        gated_gradient_step,
        carried,
        unit,
        arrays,
        written,
        marks,
        meaning,
        span,
        SIGN,
        width,
        BLOCK,
        ROWS,
        states,
        start,
    )
    store(initial_gradient, batch * width + channels, carried[: len(inputs)], ends_here)
    offset = (batch * pieces + piece) * width + channels
    store(log_sums, offset, (carried[len(inputs)],), channels < width)
    if phase is not None:
        store(angle_sums, offset, (carried[-1],), channels < width)


@triton.jit
def gated_gradient_step(carried, unit, numbers, kept, seen, written, offset, inside):
    """One step of `gated_scan_gradient`."""
    softplus, phases, exponent = unit
    x, g, h = seen_number(numbers[0], seen), widened(numbers[3]), widened(numbers[4])
    (i_logits,) = seen_number(numbers[1], seen)
    (r_logits,) = seen_number(numbers[2], seen)
    into_state = carried[: len(x)]
    input_gate, recurrence_gate = sigmoid(i_logits), sigmoid(r_logits)
    power = exponent * recurrence_gate
    magnitude_minus_one = magnitude_of(power, softplus, kept)
    magnitude = 1.0 + magnitude_minus_one
    root, reciprocal = root_of(magnitude_minus_one)
    turn = turn_of(power, phases)
    decay = select(seen, scaled(turn, magnitude), 1.0)

    gated = add(g, into_state)
    into_state = select(kept, multiply(conjugate(decay), gated), 0.0)
    gated, h = select(seen, gated, 0.0), select(seen, select(kept, h, 0.0), 0.0)
    # The gradient for the logarithm of the decay, without the square root's contribution; its imaginary part is that
    # for the angle.
    into_log = scaled(multiply(multiply(gated, conjugate(h)), conjugate(turn)), magnitude)
    product = multiply(gated, conjugate(x))[0]
    # As in `bounded_slope`; 1 - |a|^2, of which this is the root, has the derivative -2 |a|^2.
    slope = 0.5 * tl.minimum(reciprocal, 2000.0)
    log_gradient = into_log[0] - product * input_gate * slope * 2.0 * magnitude * magnitude
    sums = (carried[len(x)] + log_gradient * power,)
    into_power = -log_gradient * softplus
    if len(phases) == 1:
        sums += (carried[-1] + into_log[1] * power,)
        into_power += into_log[1] * phases[0]

    store(written[0], offset, scaled(gated, root * input_gate), inside)
    into_logits = product * root * input_gate * (1.0 - input_gate)
    store(written[1], offset, (into_logits,), inside)
    store(written[2], offset, (into_power * power * (1.0 - recurrence_gate),), inside)
    return into_state + sums
