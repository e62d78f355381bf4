"""On JAX on a TPU: Pallas kernels that read each sequence once, and compute the states of a block of time on chip.

The grid is batch by channels by time, with time innermost and in order. The state, `(N, D)`, passes from block to block
in float32, and the one before each block is kept for the gradient, whose kernel computes the block's states again.
"""

import math
from typing import NamedTuple

import jax
from jax import lax
from jax import numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from keras_griffin.ops.recurrence.kernels.jax_pallas_tpu_walk import indices_of_32_bits, supports
from keras_griffin.ops.selective_scan.jax_gradient import differentiable

__all__ = ["selective_scan", "supports"]

#: Rows of a bfloat16 register, and channels of any.
_ROWS, _LANES = 16, 128
_LONGEST, _WIDEST = 64, 512
#: On-chip memory for the states of a block.
_STATES_BYTES = 4 * 2**20


def _scan(selection, initial_state, reset):
    """The outputs, the last state, and the state before each block, `(B, blocks, N, D)`."""
    walk = _walk_through(selection)

    def kernel(u, s, rates, b, c, flags, start, outputs, final, starts, *memory):
        state, sizes, scaled, rows, b_rows, c_rows = memory

        first = walk.clean(start[...])

        @pl.when(pl.program_id(2) == 0)
        def _():
            state[...] = first

        starts[...] = state[...]
        sizes[...] = walk.rows(s)
        scaled[...] = walk.rows(u) * sizes[...]
        b_rows[...], c_rows[...] = walk.until_the_last(b[...]), walk.until_the_last(c[...])
        rate = walk.clean(rates[...])

        def step(i, h):
            h = _advance(rate, h, sizes, scaled, b_rows, flags, i)
            rows[pl.ds(i, 1), :] = jnp.sum(h * _column(c_rows, i), axis=0, keepdims=True)
            return h

        state[...] = lax.fori_loop(0, walk.steps, step, state[...])
        outputs[...] = rows[...].astype(outputs.dtype)
        # The last block's remains.
        final[...] = state[...]

    batch_size, length, width, numbers = walk.shape
    shapes = [(batch_size, length, width), (batch_size, numbers, width), (batch_size, walk.grid[2], numbers, width)]
    outputs, final_state, starts = _call(
        "selective_scan",
        kernel,
        walk,
        (*walk.operands(selection, reset), initial_state.mT),
        (*walk.operand_specs(reset), walk.state()),
        zip(shapes, (selection.inputs.dtype, "float32", "float32"), strict=True),
        (walk.sequence(), walk.state(), walk.starts()),
        [(numbers, walk.lanes), *[(walk.steps, walk.lanes)] * 3, *[(walk.steps, numbers)] * 2],
    )
    return outputs, final_state.mT, starts


def _gradient(selection, starts, reset, gradients):
    """The gradients for u, s, rates, b, c and the initial state.

    That of the rates, `(B, D, N)`, is for each row; those of b and c, `(blocks, B, T, N)`, are for blocks of channels.
    """
    walk = _walk_through(selection)._replace(reverse=True)

    def kernel(u, s, rates, b, c, flags, starts, into_outputs, into_final, *results):
        into_u, into_s, into_rates, into_b, into_c, into_start, *memory = results
        gradient, before, sizes, inputs, scaled, given, b_rows, c_rows = memory

        last = walk.clean(into_final[...])

        @pl.when(pl.program_id(2) == 0)
        def _():
            gradient[...] = last
            into_rates[...] = jnp.zeros(into_rates.shape, "float32")

        sizes[...], inputs[...], given[...] = walk.rows(s), walk.rows(u), walk.rows(into_outputs)
        scaled[...] = sizes[...] * inputs[...]
        b_rows[...], c_rows[...] = walk.until_the_last(b[...]), walk.until_the_last(c[...])
        rate = walk.clean(rates[...])

        def step(i, h):
            before[i] = h
            return _advance(rate, h, sizes, scaled, b_rows, flags, i)

        lax.fori_loop(0, walk.steps, step, walk.clean(starts[...]))

        def step_back(k, carried):
            g, into_rate = carried
            i = walk.steps - 1 - k
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
        gradient[...], into_rate = lax.fori_loop(0, walk.steps, step_back, carried)
        into_rates[...] += into_rate
        into_u[...], into_s[...] = scaled[...].astype(into_u.dtype), given[...].astype(into_s.dtype)
        into_start[...] = gradient[...]

    batch_size, length, width, numbers = walk.shape
    sequence, state = (batch_size, length, width), (batch_size, numbers, width)
    sums = (walk.grid[1], batch_size, length, numbers)
    dtypes = (selection.inputs.dtype, selection.step_sizes.dtype, *["float32"] * 4)
    into_outputs, into_final = gradients
    into_u, into_s, into_rates, into_b, into_c, into_start = _call(
        "selective_scan_gradient",
        kernel,
        walk,
        (*walk.operands(selection, reset), starts, into_outputs, into_final.mT),
        (*walk.operand_specs(reset), walk.starts(), walk.sequence(), walk.state()),
        zip((sequence, sequence, state, sums, sums, state), dtypes, strict=True),
        (walk.sequence(), walk.sequence(), walk.state(), walk.sums(), walk.sums(), walk.state()),
        [
            (numbers, walk.lanes),
            (walk.steps, numbers, walk.lanes),
            *[(walk.steps, walk.lanes)] * 4,
            *[(walk.steps, numbers)] * 2,
        ],
    )
    return into_u, into_s, into_rates.mT, into_b, into_c, into_start.mT


selective_scan = differentiable(_scan, _gradient)


def _call(name, kernel, walk, arguments, in_specs, results, out_specs, scratch):
    """Run the kernel, whose results vary over the same devices as its arguments, inside `shard_map`."""
    like = arguments[0]

    def result(shape, dtype):
        return jax.eval_shape(lambda x: jnp.broadcast_to(x[:1, :1, :1], shape).astype(dtype), like)

    with indices_of_32_bits():
        return pl.pallas_call(
            kernel,
            grid=walk.grid,
            in_specs=list(in_specs),
            out_specs=list(out_specs),
            out_shape=[result(*shape_and_dtype) for shape_and_dtype in results],
            scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in scratch],
            compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary")),
            name=name,
        )(*arguments)


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


def _walk_through(selection):
    batch_size, length, width = selection.inputs.shape
    numbers = selection.rates.shape[1]
    widest = max(_LANES, min(_WIDEST, _STATES_BYTES // (4 * _LONGEST * numbers) // _LANES * _LANES))
    lanes = min(range(_LANES, widest + 1, _LANES), key=lambda lanes: (math.ceil(width / lanes) * lanes, -lanes))
    room = max(_ROWS, _STATES_BYTES // (4 * numbers * lanes) // _ROWS * _ROWS)
    blocks = math.ceil(length / min(_LONGEST, room))
    steps = math.ceil(length / blocks / _ROWS) * _ROWS
    return _Walk((batch_size, length, width, numbers), steps, lanes)


class _Walk(NamedTuple):
    """The path of a kernel through arrays of one size."""

    #: B, T, D, N.
    shape: tuple[int, int, int, int]
    #: Of a block.
    steps: int
    lanes: int
    #: From the last block to the first.
    reverse: bool = False

    @property
    def grid(self):
        """Rows of the batch, blocks of channels, blocks of time."""
        batch_size, length, width, _ = self.shape
        return batch_size, math.ceil(width / self.lanes), math.ceil(length / self.steps)

    def block(self, t):
        """The index of the t-th block of time."""
        return self.grid[2] - 1 - t if self.reverse else t

    def operands(self, selection, reset):
        """A kernel's first arguments: what is small in float32, and flags of four bytes for the resets."""
        u, s, rates, b, c = selection
        # Memory beyond the last step is undefined, and must not say that it forgets.
        beyond = self.grid[2] * self.steps - self.shape[1]
        flags = None if reset is None else jnp.pad(reset.astype(jnp.int32), ((0, 0), (0, beyond)))[..., None]
        return u, s, rates.T.astype("float32"), b.astype("float32"), c.astype("float32"), flags

    def operand_specs(self, reset):
        """Their blocks."""
        rates = pl.BlockSpec((self.shape[3], self.lanes), lambda b, d, t: (0, d))
        weights, flags = (self._steps(count) for count in (self.shape[3], 1))
        return self.sequence(), self.sequence(), rates, weights, weights, None if reset is None else flags

    def sequence(self):
        """For `(B, T, D)`."""
        return pl.BlockSpec((None, self.steps, self.lanes), lambda b, d, t: (b, self.block(t), d))

    def _steps(self, count):
        """For `(B, T, count)`."""
        return pl.BlockSpec((None, self.steps, count), lambda b, d, t: (b, self.block(t), 0))

    def state(self):
        """For `(B, N, D)`: constant in time."""
        return pl.BlockSpec((None, self.shape[3], self.lanes), lambda b, d, t: (b, 0, d))

    def starts(self):
        """For the states before the blocks, `(B, blocks, N, D)`."""
        shape = None, None, self.shape[3], self.lanes
        return pl.BlockSpec(shape, lambda b, d, t: (b, self.block(t), 0, d))

    def sums(self):
        """For sums over each block of channels, `(blocks, B, T, N)`."""
        shape = None, None, self.steps, self.shape[3]
        return pl.BlockSpec(shape, lambda b, d, t: (d, b, self.block(t), 0))

    def clean(self, tile):
        """The tile with zeros beyond the last channel, where memory is undefined."""
        width = self.shape[2]
        if width % self.lanes == 0:
            return tile
        channels = pl.program_id(1) * self.lanes + lax.broadcasted_iota(jnp.int32, tile.shape, tile.ndim - 1)
        return jnp.where(channels < width, tile, 0.0)

    def rows(self, ref):
        """A block of a sequence in float32, with zeros beyond the last step and channel: nothing changes there."""
        return self.clean(self.until_the_last(ref[...].astype(jnp.float32)))

    def until_the_last(self, rows):
        """A block's rows with zeros beyond the last step, where memory is undefined."""
        length = self.shape[1]
        if length % self.steps == 0:
            return rows
        first = self.block(pl.program_id(2)) * self.steps
        return jnp.where(first + lax.broadcasted_iota(jnp.int32, rows.shape, 0) < length, rows, 0.0)
