"""On JAX on a TPU: Pallas kernels that read each sequence once, and compute the states of a block of time on chip.

The state, `(N, D)`, passes from block to block in float32, and the one before each is kept for the gradient, whose
kernel computes the block's states again.
"""

from jax import lax
from jax import numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from keras_griffin.ops.recurrence.kernels.jax_pallas_tpu_blocks import GROUP, LANES, Tile, Walk, lanes_of, steps_of
from keras_griffin.ops.recurrence.kernels.jax_pallas_tpu_walk import call, like, supports
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.selective_scan.jax_gradient import differentiable

__all__ = ["selective_scan", "supports"]

_LONGEST, _WIDEST = 64, 512
#: On-chip memory for the states of a block.
_STATES_BYTES = 4 * 2**20


def _scan(selection, initial_state, reset):
    """The outputs, the last state, and the state before each block, `(B, blocks, N, D)`."""
    walk, numbers = _walk_through(selection, False)

    def kernel(u, s, rates, b, c, flags, start, outputs, final, starts, *memory):
        state, sizes, scaled, rows, b_rows, c_rows = memory

        first = _clean(walk, start[...])

        @pl.when(pl.program_id(2) == 0)
        def _():
            state[...] = first

        starts[...] = state[...]
        sizes[...] = _rows(walk, s)
        scaled[...] = _rows(walk, u) * sizes[...]
        b_rows[...], c_rows[...] = _until_the_last(walk, b[...]), _until_the_last(walk, c[...])
        rate = _clean(walk, rates[...])

        def step(i, h):
            h = _advance(rate, h, sizes, scaled, b_rows, flags, i)
            rows[pl.ds(i, 1), :] = jnp.sum(h * _column(c_rows, i), axis=0, keepdims=True)
            return h

        state[...] = lax.fori_loop(0, walk.tile.length, step, state[...])
        outputs[...] = rows[...].astype(outputs.dtype)
        # The last block's remains.
        final[...] = state[...]

    batch_size, _, width = walk.shape
    kind = like(selection.inputs)
    state = kind((batch_size, numbers, width), "float32")
    starts = kind((batch_size, walk.grid[2], numbers, width), "float32")
    outputs, final_state, starts = call(
        "selective_scan",
        kernel,
        walk,
        [*_operands(walk, numbers, selection, reset), (initial_state.mT, walk.state(numbers))],
        [
            (kind(walk.shape, selection.inputs.dtype), walk.sequence()),
            (state, walk.state(numbers)),
            (starts, _starts(walk, numbers)),
        ],
        _memory((numbers, walk.tile.width), *[walk.tile] * 3, *[(walk.tile.length, numbers)] * 2),
    )
    return outputs, final_state.mT, starts


def _gradient(selection, starts, reset, gradients):
    """The gradients for selection and initial state; for A each row's, and for b and c each block of channels'."""
    walk, numbers = _walk_through(selection, True)

    def kernel(u, s, rates, b, c, flags, starts, into_outputs, into_final, *results):
        into_u, into_s, into_rates, into_b, into_c, into_start, *memory = results
        gradient, before, sizes, inputs, scaled, given, b_rows, c_rows = memory

        last = _clean(walk, into_final[...])

        @pl.when(pl.program_id(2) == 0)
        def _():
            gradient[...] = last
            into_rates[...] = jnp.zeros(into_rates.shape, "float32")

        sizes[...], inputs[...], given[...] = _rows(walk, s), _rows(walk, u), _rows(walk, into_outputs)
        scaled[...] = sizes[...] * inputs[...]
        b_rows[...], c_rows[...] = _until_the_last(walk, b[...]), _until_the_last(walk, c[...])
        rate = _clean(walk, rates[...])

        def step(i, h):
            before[i] = h
            return _advance(rate, h, sizes, scaled, b_rows, flags, i)

        lax.fori_loop(0, walk.tile.length, step, _clean(walk, starts[...]))

        def step_back(k, carried):
            g, into_rate = carried
            i = walk.tile.length - 1 - k
            row = pl.ds(i, 1)
            size, entering, into_output = sizes[row, :], scaled[row, :], given[row, :]
            b_here, c_here = _column(b_rows, i), _column(c_rows, i)
            h = _kept(flags, i, before[i])
            decay = jnp.exp(size * rate)
            state = decay * h + entering * b_here
            g = g + c_here * into_output
            into_entering, into_power = jnp.sum(g * b_here, axis=0, keepdims=True), decay * g * h
            _write_row(into_b, i, jnp.sum(g * entering, axis=1, keepdims=True))
            _write_row(into_c, i, jnp.sum(state * into_output, axis=1, keepdims=True))
            # In place of what is not read again.
            scaled[row, :] = into_entering * size
            given[row, :] = jnp.sum(into_power * rate, axis=0, keepdims=True) + into_entering * inputs[row, :]
            return _kept(flags, i, decay * g), into_rate + into_power * size

        carried = gradient[...], jnp.zeros(into_rates.shape, "float32")
        gradient[...], into_rate = lax.fori_loop(0, walk.tile.length, step_back, carried)
        into_rates[...] += into_rate
        into_u[...], into_s[...] = scaled[...].astype(into_u.dtype), given[...].astype(into_s.dtype)
        into_start[...] = gradient[...]

    batch_size, length, width = walk.shape
    kind = like(selection.inputs)
    sequences = [(kind(walk.shape, x.dtype), walk.sequence()) for x in selection[:2]]
    state = kind((batch_size, numbers, width), "float32"), walk.state(numbers)
    sums = kind((walk.grid[1], batch_size, length, numbers), "float32"), _sums(walk, numbers)
    into_u, into_s, into_rates, into_b, into_c, into_start = call(
        "selective_scan_gradient",
        kernel,
        walk,
        [
            *_operands(walk, numbers, selection, reset),
            (starts, _starts(walk, numbers)),
            (gradients[0], walk.sequence()),
            (gradients[1].mT, walk.state(numbers)),
        ],
        [*sequences, state, sums, sums, state],
        _memory(
            (numbers, walk.tile.width),
            (walk.tile.length, numbers, walk.tile.width),
            *[walk.tile] * 4,
            *[(walk.tile.length, numbers)] * 2,
        ),
    )
    return SelectiveScanInputs(into_u, into_s, into_rates.mT, into_b, into_c), into_start.mT


selective_scan = differentiable(_scan, _gradient)


def _memory(*shapes):
    return [pltpu.VMEM(tuple(shape), jnp.float32) for shape in shapes]


def _advance(rate, state, sizes, scaled, b_rows, flags, i):
    """The state after the i-th step of a block."""
    row = pl.ds(i, 1)
    return jnp.exp(sizes[row, :] * rate) * _kept(flags, i, state) + scaled[row, :] * _column(b_rows, i)


def _kept(flags, i, state):
    """Zero where the past is forgotten: a decay of 0 times NaN would be NaN."""
    if flags is None:
        return state
    # Along one axis at a time: JAX 0.8's compiler of TPUs can't broadcast along both.
    forgets = jnp.broadcast_to(flags[pl.ds(i, 1), :], (1, state.shape[1])) > 0
    return jnp.where(forgets, 0.0, state)


def _diagonal(count):
    rows, columns = (lax.broadcasted_iota(jnp.int32, (count, count), axis) for axis in (0, 1))
    return rows == columns


def _column(rows, i):
    """The i-th row as a column `(N, 1)`."""
    row = rows[pl.ds(i, 1), :]
    return jnp.sum(jnp.where(_diagonal(row.shape[1]), row, 0.0), axis=1, keepdims=True)


def _write_row(ref, i, column):
    """Write a column `(N, 1)` as a row."""
    count = column.shape[0]
    ref[pl.ds(i, 1), :] = jnp.sum(jnp.where(_diagonal(count), column, 0.0), axis=0, keepdims=True)


def _walk_through(selection, reverse):
    """The path of a kernel, and N."""
    (_, length, width), numbers = selection.inputs.shape, selection.rates.shape[1]
    lanes = lanes_of(width, max(LANES, min(_WIDEST, _STATES_BYTES // (4 * _LONGEST * numbers) // LANES * LANES)))
    room = _STATES_BYTES // (4 * numbers * lanes) // GROUP * GROUP
    return Walk(selection.inputs.shape, Tile(steps_of(length, min(_LONGEST, room)), lanes), reverse), numbers


def _operands(walk, numbers, selection, reset):
    """A kernel's first arguments, each with its block: the small ones in float32, resets as flags of four bytes."""
    u, s, rates, b, c = selection
    # Memory beyond the last step is undefined, and must not say that it forgets.
    beyond = walk.grid[2] * walk.tile.length - walk.shape[1]
    flags = None if reset is None else jnp.pad(reset.astype(jnp.int32), ((0, 0), (0, beyond)))[..., None]
    weights = [(x.astype("float32"), walk.sequence(numbers)) for x in (b, c)]
    rates = rates.T.astype("float32"), walk.channels(numbers)
    return (u, walk.sequence()), (s, walk.sequence()), rates, *weights, (flags, walk.sequence(1))


def _starts(walk, numbers):
    """For the states before the blocks, `(B, blocks, N, D)`."""
    return pl.BlockSpec((None, None, numbers, walk.tile.width), lambda b, d, t: (b, walk.block(t), 0, d))


def _sums(walk, numbers):
    """For sums over each block of channels, `(blocks, B, T, N)`."""
    return pl.BlockSpec((None, None, walk.tile.length, numbers), lambda b, d, t: (d, b, walk.block(t), 0))


def _clean(walk, tile):
    """The tile with zeros beyond the last channel, where memory is undefined."""
    width = walk.shape[2]
    if width % walk.tile.width == 0:
        return tile
    channels = pl.program_id(1) * walk.tile.width + lax.broadcasted_iota(jnp.int32, tile.shape, tile.ndim - 1)
    return jnp.where(channels < width, tile, 0.0)


def _rows(walk, ref):
    """A block of a sequence in float32, with zeros beyond the last step and channel: nothing changes there."""
    return _clean(walk, _until_the_last(walk, ref[...].astype(jnp.float32)))


def _until_the_last(walk, rows):
    """A block's rows with zeros beyond the last step, where memory is undefined."""
    length = walk.shape[1]
    if length % walk.tile.length == 0:
        return rows
    first = walk.block(pl.program_id(2)) * walk.tile.length
    return jnp.where(first + lax.broadcasted_iota(jnp.int32, rows.shape, 0) < length, rows, 0.0)
