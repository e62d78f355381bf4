"""How a Pallas kernel walks through time on a TPU, for every recurrence h_t = a_t h_(t-1) + x_t.

The grid is batch by channels by time, innermost and in order. Within a block of time, a group of rows is prepared as
whole registers, then walked through row by row; the state passes on in float32. Callers pass functions that compute
decay and inputs of a group, and the final gradients, from rows of the operands as stored in memory.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import lax
from jax import numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from keras_griffin.ops.recurrence.kernels.jax_pallas_tpu_blocks import GROUP, Walk, tile
from keras_griffin.ops.recurrence.marks import Marks, forgetting, zero_where
from keras_griffin.ops.recurrence.numbers import Components, add, conjugate, multiply

_RESET, _MASKED = 1, 2


def supports(facts) -> str | None:
    """All but float64."""
    if facts.device != "tpu":
        return "needs a TPU"
    return "computes in float32" if facts.dtype == "float64" else None


class Operands(NamedTuple):
    """The arrays from which a kernel computes decay and inputs; inside the kernel, rows of them."""

    #: Any tree of `(B, T, D)`.
    sequences: object
    #: Any tree of `(D,)`.
    channels: object
    marks: Marks


def scan(
    name: str,
    load: Callable,
    operands: Operands,
    initial_state: Components,
    reverse: bool,
    dtype,
    cost: tuple[int, int],
) -> tuple[Components, Components]:
    """Every state, in `dtype`, and the last one; for `name` and `cost` see `call`.

    `load` returns decay and inputs of a group, components of `(GROUP, D)` in float32, from its `Operands`.
    """
    parts, sequences = len(initial_state), jax.tree.leaves(operands.sequences)
    shape, kind = sequences[0].shape, like(sequences[0])
    itemsizes = [x.dtype.itemsize for x in sequences] + [jnp.dtype(dtype).itemsize] * parts
    walk = Walk(shape, tile(*shape[1:], sum(itemsizes)), reverse)

    def kernel(sequences, channels, flags, start, states, final, carry, kept, decay, rows):
        @pl.when(pl.program_id(2) == 0)
        def _():
            _write(carry, _read(start))

        def visit(at, steps):
            here = pl.ds(at, GROUP)
            group = _group(walk, sequences, channels, flags, here, steps)
            made = load(group)
            _write(kept, _kept(kept, group.marks))
            _write(decay, made[0])
            _write(rows, made[1])

            def step(row, state):
                past = _where_kept(kept, row, multiply(_read(decay, row), state))
                state = add(past, _read(rows, row))
                _write(rows, state, row)
                return state

            _write(carry, walk.through_rows(step, _read(carry)))
            _write(states, _read(rows), here)

        walk.groups(visit)

        @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
        def _():
            _write(final, _read(carry))

    final_state = (kind((shape[0], 1, shape[2]), jnp.float32),) * parts
    states, final = call(
        name,
        kernel,
        walk,
        [*_arguments(walk, operands), (_as_row(initial_state), walk.state())],
        [((kind(shape, dtype),) * parts, walk.sequence()), (final_state, walk.state())],
        _scratch(walk, parts, operands.marks),
        cost,
    )
    return tuple(states), tuple(h[:, 0] for h in final)


def scan_gradient(
    name: str,
    load: Callable,
    finish: Callable,
    operands: Operands,
    states: Components,
    initial_state: Components,
    gradients: tuple[Components, Components],
    reverse: bool,
    results: tuple,
    cost: tuple[int, int],
):
    """The gradients of a scan: a scan in the other direction, where c passes from each step to the one before it.

        dx_t = g_t + c_{t+1}        c_t = conj(a_t) dx_t        da_t = dx_t conj(h_{t-1})        dh_0 = c_1

    `load` returns the decay of a group from its `Operands`. `finish` returns, from `Operands`, da and dx of a group, a
    tree of rows to write, and a tree of `(D,)` to sum over all steps; `results` are trees like both: sequences in the
    wanted dtypes, and `(D,)`. Returned are these trees, of `(B, T, D)` and `(B, D)`, and the initial state's gradient.
    """
    parts, shape = len(gradients[0]), gradients[0][0].shape
    kind = like(states[0])
    read = jax.tree.leaves((operands.sequences, states, gradients[0], results[0]))
    walk = Walk(shape, tile(*shape[1:], sum(x.dtype.itemsize for x in read)), not reverse)

    def kernel(sequences, channels, flags, start, states, beyond, gradient, final, written, sums, into_start, *memory):
        carry, kept, decay, rows = memory

        @pl.when(pl.program_id(2) == 0)
        def _():
            _write(carry, _read(final))
            jax.tree.map(lambda ref: _write((ref,), (jnp.zeros(ref.shape, ref.dtype),)), sums)

        def visit(at, steps):
            here, inside = pl.ds(at, GROUP), walk.inside(steps)
            group = _group(walk, sequences, channels, flags, here, steps)
            _write(kept, _kept(kept, group.marks))
            _write(decay, load(group))
            # Beyond the last step the values are undefined, and a masked step's decay of one would pass them on.
            given = _read(gradient, here)
            _write(rows, given if inside is None else tuple(jnp.where(inside, g, 0.0) for g in given))

            def step(row, flowing):
                into_inputs = add(_read(rows, row), flowing)
                _write(rows, into_inputs, row)
                return _where_kept(kept, row, multiply(conjugate(_read(decay, row)), into_inputs))

            _write(carry, walk.through_rows(step, _read(carry)))
            into_inputs = _read(rows)
            before = zero_where(forgetting(group.marks), _before(walk, states, beyond, start, at, steps))
            into_decay = multiply(into_inputs, conjugate(before))
            into_sequences, into_channels = finish(group, into_decay, into_inputs)
            jax.tree.map(lambda ref, rows: _write((ref,), (rows,), here), written, into_sequences)
            jax.tree.map(lambda ref, part: _write((ref,), (ref[...] + part.reshape(1, -1),)), sums, into_channels)

        walk.groups(visit)

        @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
        def _():
            _write(into_start, _read(carry))

    row, (wanted, channels) = kind((shape[0], 1, shape[2]), jnp.float32), results
    arguments = [
        *_arguments(walk, operands),
        (_as_row(initial_state), walk.state()),
        (states, walk.sequence()),
        (states, walk.beyond()),
        (gradients[0], walk.sequence()),
        (_as_row(gradients[1]), walk.state()),
    ]
    into = [
        (jax.tree.map(lambda x: kind(shape, x.dtype), wanted), walk.sequence()),
        (jax.tree.map(lambda _: row, channels), walk.state()),
        ((row,) * parts, walk.state()),
    ]
    scratch = _scratch(walk, parts, operands.marks)
    written, sums, into_start = call(name, kernel, walk, arguments, into, scratch, cost)
    return written, jax.tree.map(lambda x: x[:, 0], sums), tuple(h[:, 0] for h in into_start)


def call(name, kernel, walk, arguments, results, scratch, cost=None):
    """Run the kernel on pairs `(tree, block)`, and return the trees of the results' pairs.

    `cost` are floating-point operations, and those of them that are transcendental, per element.
    """
    (arguments, in_specs), (results, out_specs), estimate = _with_specs(arguments), _with_specs(results), None
    if cost is not None:
        elements = math.prod(walk.shape)
        # The states are passed twice, but the second time little of them is read.
        read = {id(x): x for x in jax.tree.leaves(arguments)}.values()
        moved = sum(x.dtype.itemsize * math.prod(x.shape) for x in (*read, *jax.tree.leaves(results)))
        estimate = pl.CostEstimate(flops=cost[0] * elements, transcendentals=cost[1] * elements, bytes_accessed=moved)
    # With `jax_enable_x64`, the kernel would mix indices of 32 and 64 bits.
    with jax.enable_x64(False):
        return pl.pallas_call(
            kernel,
            grid=walk.grid,
            in_specs=in_specs,
            out_specs=out_specs,
            out_shape=results,
            scratch_shapes=scratch,
            compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary")),
            cost_estimate=estimate,
            name=name,
        )(*arguments)


def _with_specs(pairs):
    """The trees of some pairs, and trees of blocks."""
    specs = (jax.tree.map(lambda _, block=block: block, tree) for tree, block in pairs)
    return tuple(tree for tree, _ in pairs), tuple(specs)


def _arguments(walk, operands):
    """The operands as a kernel's arguments, each with its block."""
    sequences, channels, (reset, mask) = operands
    channels = jax.tree.map(lambda x: x[None], channels)
    flags = None
    if (reset, mask) != (None, None):
        flags = jnp.int32(0) if reset is None else jnp.where(reset, _RESET, 0)
        flags = (flags if mask is None else jnp.where(mask, flags, _MASKED)).astype(jnp.int32)
    return (sequences, walk.sequence()), (channels, walk.channels()), (flags, walk.sequence(width=1))


def _group(walk, sequences, channels, flags, here, steps):
    """The operands' rows; steps beyond the last are masked."""
    reset, mask = None, walk.inside(steps)
    if flags is not None:
        flags = flags[here, :]
        reset, seen = flags == _RESET, flags != _MASKED
        mask = seen if mask is None else jnp.logical_and(mask, seen)
    rows = jax.tree.map(lambda ref: ref[here, :], sequences)
    return Operands(rows, jax.tree.map(lambda ref: ref[...], channels), Marks(reset, mask))


def _before(walk, states, beyond, start, at, steps):
    """h_{t-1} for each row of a group, the next state on the backward walk, in float32."""
    # The walk runs against the scan: if it goes up, the states were computed from the last step to the first.
    up = not walk.reverse
    edge, neighbour, shift = (GROUP - 1, 0, GROUP - 1) if up else (0, GROUP - 1, 1)
    next_group = at + GROUP if up else at - GROUP
    outside = jnp.logical_or(next_group < 0, next_group >= walk.tile.length)
    inner = pl.ds(pl.multiple_of(jnp.clip(next_group, 0, walk.tile.length - GROUP), GROUP), GROUP)
    is_edge = lax.broadcasted_iota(jnp.int32, (GROUP, 1), 0) == edge
    is_first = steps == (walk.shape[1] - 1 if up else 0)
    rows = []
    for state, over, first in zip(states, beyond, start, strict=True):
        entering = jnp.where(outside, over[...].astype(jnp.float32), state[inner, :].astype(jnp.float32))
        shifted = pltpu.roll(state[pl.ds(at, GROUP), :].astype(jnp.float32), shift, axis=0)
        entering = entering[neighbour : neighbour + 1]
        rows.append(jnp.where(is_first, first[...], jnp.where(is_edge, entering, shifted)))
    return tuple(rows)


def _read(refs, rows=slice(None)):
    """The rows in float32."""
    return tuple(ref[rows, :].astype(jnp.float32) for ref in refs)


def _write(refs, values, rows=slice(None)):
    for ref, value in zip(refs, values, strict=True):
        ref[rows, :] = value.astype(ref.dtype)


def _scratch(walk, parts, marks):
    """Memory for the state, for each row's flag that keeps the past (with resets), and for a group's two numbers."""
    sizes = (parts, 1), (0 if marks.reset is None else 1, GROUP), (parts, GROUP), (parts, GROUP)
    return [(pltpu.VMEM((count, walk.tile.width), jnp.float32),) * arrays for arrays, count in sizes]


def _kept(refs, marks):
    """For a group's rows, one on every channel if the row keeps the past, else zero; nothing without resets."""
    return tuple(jnp.where(forgetting(marks), 0.0, jnp.ones(ref.shape, jnp.float32)) for ref in refs)


def _where_kept(refs, row, number):
    """The number, but zero where the row forgets: a decay of 0 times NaN would be NaN."""
    if not refs:
        return number
    return tuple(jnp.where(refs[0][row, :] > 0.0, x, 0.0) for x in number)


def _as_row(state):
    return tuple(h[:, None].astype(jnp.float32) for h in state)


def like(array):
    """Shapes of results that vary over the same devices as an array does, inside `shard_map`."""
    return lambda shape, dtype: jax.eval_shape(lambda x: jnp.broadcast_to(x[:1, :1, :1], shape).astype(dtype), array)
