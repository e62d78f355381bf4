"""How a Pallas kernel walks through time on a GPU, for every recurrence h_t = a_t h_(t-1) + x_t.

A program walks along one piece of time on its own block of channels, with the state in registers, in float32. A step
waits for the one before it, so what keeps memory busy is many programs, and rows that each of them loads at once. If
sequences and channels give too few programs, time is cut into pieces: for each piece but the last, a first pass
computes the product of its decays and its final state from zero, a scan of those gives the state before each piece, and
a last pass scans the pieces from there. Callers pass functions that compute decay and inputs of a row, and the final
gradients, from rows of the operands as stored in memory.
"""

from collections.abc import Callable

import jax
from jax import numpy as jnp
from jax.experimental import pallas as pl

from keras_griffin.ops.linear_scan.components import Components, add, conjugate, multiply
from keras_griffin.ops.linear_scan.jax_pallas import Operands, divided_gradient, divided_scan, indices_of_32_bits
from keras_griffin.ops.linear_scan.jax_pallas_gpu_blocks import ROWS, walk_through
from keras_griffin.ops.linear_scan.marks import Marks, forgetting, unless
from keras_griffin.ops.linear_scan.semiring import LINEAR, Semiring


@divided_scan
def scan(
    name: str,
    load: Callable,
    operands: Operands,
    initial_state: Components,
    reverse: bool,
    dtype,
    rows: int = ROWS,
    semiring: Semiring = LINEAR,
    note: Callable | None = None,
) -> tuple:
    """Every state, in `dtype`, and the last one; with `note`, also what it notes.

    Args:
        name: the kernel's name in profiles.
        load: returns decay and inputs of a row, components of `(D,)` in float32, from its `Operands`.
        operands: the arrays to read.
        initial_state: `(B, D)`, float32.
        reverse: run from the last step to the first.
        dtype: of the states.
        rows: how many rows a program loads before it uses the first of them; divides `ROWS`.
        semiring: the arithmetic.
        note: returns components `(D,)` to write for a row, in float32, from the decayed state before it and its inputs.
    """
    walk = walk_through(jax.tree.leaves(operands.sequences)[0], reverse, rows)
    entering = _entering(name, load, operands, initial_state, walk, semiring)
    return _scan_pieces(name, load, operands, entering, walk, dtype, semiring, note)


def _scan_pieces(name, load, operands, entering, walk, dtype, semiring, note=None):
    """`scan` from the state before each piece, `(B, pieces, D)`."""

    def kernel(sequences, channels, marks, entering, states, ends, notes):
        constants = _channels(walk, channels)

        def visit(steps, state):
            rows = [_operands(sequences, constants, marks, step) for step in steps]
            loaded = [(load(row), forgetting(row.marks)) for row in rows]
            for step, ((decay, inputs), forgotten) in zip(steps, loaded, strict=True):
                past = unless(forgotten, semiring.times(decay, state), semiring.zero)
                state = semiring.plus(past, inputs)
                _store(states, state, step.channels, step.row)
                if note is not None:
                    _store(notes, note(past, inputs), step.channels, step.row)
            return state

        _store(ends, walk.through(visit, _load(entering, walk.inside())), walk.inside())

    arguments, specs = _arguments(walk, operands)
    piece, sequence = (walk.piece(),) * len(entering), (walk.sequence(),) * len(entering)
    noted = () if note is None else entering
    states, ends, notes = _call(
        name,
        kernel,
        walk,
        ((*arguments, entering), (*specs, piece)),
        (
            (
                tuple(_like(h, walk.shape, dtype) for h in entering),
                tuple(_like(h, h.shape) for h in entering),
                tuple(_like(h, walk.shape) for h in noted),
            ),
            (sequence, piece, sequence[: len(noted)]),
        ),
    )
    final_state = tuple(h[:, -1] for h in ends)
    return (states, final_state) if note is None else (states, final_state, notes)


def _entering(name, load, operands, start, walk, semiring=LINEAR):
    """The state before each piece, `(B, pieces, D)`."""
    first = tuple(h[:, None] for h in start)
    if walk.pieces == 1:
        return first

    # Every piece but the last has full length.
    whole = walk._replace(pieces=walk.pieces - 1)
    plus, times, zero, one = semiring

    def kernel(sequences, channels, marks, products, ends):
        constants = _channels(whole, channels)

        def visit(steps, carried):
            product, end, forgotten = carried
            rows = [_operands(sequences, constants, marks, step) for step in steps]
            for (decay, inputs), forgets in [(load(row), forgetting(row.marks)) for row in rows]:
                # Values that a later step forgets may be anything, even NaN.
                end = plus(end, times(product, unless(forgotten, inputs, zero)))
                forgotten = forgets if forgotten is None else jnp.logical_or(forgotten, forgets)
                product = times(product, unless(forgotten, decay, zero))
            return product, end, forgotten

        zeros = jnp.zeros(walk.block, jnp.float32)
        unit, empty = ((zeros + real, *(zeros for _ in start[1:])) for real in (one, zero))
        nothing = None if operands.marks.reset is None else jnp.zeros((), bool)
        # The steps read last, which are still in the cache, are the first that the scan reads.
        product, end, _ = whole.through(visit, (unit, empty, nothing), from_end=True)
        _store(products, product, whole.inside())
        _store(ends, end, whole.inside())

    arguments, specs = _arguments(whole, operands)
    shapes = tuple(_like(h, (walk.shape[0], whole.pieces, walk.shape[2])) for h in start)
    pieces = (whole.piece(),) * len(start)
    made = _call(f"{name}_pieces", kernel, whole, (arguments, specs), ((shapes, shapes), (pieces, pieces)))
    line = walk._replace(shape=shapes[0].shape, pieces=1, steps=whole.pieces, reverse=False)
    between = Operands(made, None, Marks(_forgetting_pieces(operands.marks, whole), None))
    ends, _ = _scan_pieces(f"{name}_starts", _of_pieces, between, first, line, jnp.float32, semiring)
    return tuple(jnp.concatenate(pair, axis=1) for pair in zip(first, ends, strict=True))


def _of_pieces(row):
    return row.sequences


def _forgetting_pieces(marks, walk):
    """Which pieces of a walk forget the state they start from, `(B, pieces, 1)`; None if none does."""
    forgotten = forgetting(marks)
    if forgotten is None:
        return None
    ordered = forgotten[:, ::-1] if walk.reverse else forgotten
    pieces = ordered[:, : walk.pieces * walk.steps].reshape(walk.shape[0], walk.pieces, walk.steps)
    return jnp.any(pieces, axis=2, keepdims=True)


@divided_gradient
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
    rows: int = ROWS,
):
    """The gradients of a scan: a scan in the other direction, where c passes from each step to the one before it.

        dx_t = g_t + c_{t+1}        c_t = conj(a_t) dx_t        da_t = dx_t conj(h_{t-1})        dh_0 = c_1

    Args:
        name: the kernel's name in profiles.
        load: returns the decay of a row from its `Operands`.
        finish: returns, from `Operands`, da and dx of a row, the values to write: a tree of rows of sequences, and a
            tree of `(D,)` that is summed over all steps.
        operands: the arrays to read.
        states: the states that `scan` returned; () if `finish` does without da, which is then ().
        initial_state: as for `scan`, and so are `reverse` and `rows`; () with `states`.
        gradients: those for the states and for the final state.
        reverse: see `initial_state`.
        results: trees like those of `finish`: sequences in the wanted dtypes, and `(D,)`.
        rows: see `initial_state`.

    Returns:
        Two trees like those of `finish`, of `(B, T, D)` and of `(B, D)`, and the initial state's gradient.
    """
    walk = walk_through(gradients[0][0], not reverse, rows)

    def flow(row):
        """c_t = conj(a_t) c_{t+1} + conj(a_t) g_t, and zero at a reset."""
        sequences, gradient = row.sequences
        decay = conjugate(load(row._replace(sequences=sequences)))
        gradient = multiply(decay, tuple(g.astype(jnp.float32) for g in gradient))
        return decay, unless(forgetting(row.marks), gradient)

    both = operands._replace(sequences=(operands.sequences, gradients[0]))
    entering = _entering(name, flow, both, gradients[1], walk)

    def kernel(sequences, channels, marks, start, states, gradient, entering, written, sums, ends):
        constants, first = _channels(walk, channels), _load(start, walk.inside())

        def visit(steps, carried):
            loaded = []
            for step in steps:
                row = _operands(sequences, constants, marks, step)
                before = _before(walk, states, first, step)
                loaded.append((step, row, load(row), before, _load(gradient, step.channels, step.row)))
            flowing, totals = carried
            for step, row, decay, before, given in loaded:
                forgotten = forgetting(row.marks)
                into_inputs = add(given, flowing)
                into_decay = multiply(into_inputs, conjugate(unless(forgotten, before))) if before else ()
                into_sequences, into_channels = finish(row, into_decay, into_inputs)
                _store(jax.tree.leaves(written), jax.tree.leaves(into_sequences), step.channels, step.row)
                totals = jax.tree.map(jnp.add, totals, into_channels)
                flowing = unless(forgotten, multiply(conjugate(decay), into_inputs))
            return flowing, totals

        zeros = jax.tree.map(lambda _: jnp.zeros(walk.block, jnp.float32), sums)
        flowing, totals = walk.through(visit, (_load(entering, walk.inside()), zeros))
        _store(ends, flowing, walk.inside())
        _store(jax.tree.leaves(sums), jax.tree.leaves(totals), walk.inside())

    arguments, specs = _arguments(walk, operands)
    wanted, channels = results
    piece, sequence = (walk.piece(),) * len(entering), (walk.sequence(),) * len(entering)
    ends, array = tuple(_like(h, h.shape) for h in entering), jax.tree.leaves((states, operands.sequences))[0]
    written, sums, ends = _call(
        name,
        kernel,
        walk,
        (
            (*arguments, initial_state, states, gradients[0], entering),
            (*specs, (walk.state(),) * len(states), sequence[: len(states)], sequence, piece),
        ),
        (
            (
                jax.tree.map(lambda x: _like(array, walk.shape, x.dtype), wanted),
                jax.tree.map(lambda _: ends[0], channels),
                ends,
            ),
            (
                jax.tree.map(lambda _: walk.sequence(), wanted),
                jax.tree.map(lambda _: walk.piece(), channels),
                piece,
            ),
        ),
    )
    return written, jax.tree.map(lambda x: jnp.sum(x, axis=1), sums), tuple(h[:, -1] for h in ends)


def _call(name, kernel, walk, arguments, results):
    """Run the kernel on pairs of trees and their blocks."""
    # Imported only when a kernel is built: it loads Triton's dialect.
    from jax.experimental.pallas.triton import CompilerParams

    (arguments, in_specs), (results, out_specs) = arguments, results
    with indices_of_32_bits():
        return pl.pallas_call(
            kernel,
            grid=walk.grid,
            in_specs=in_specs,
            out_specs=out_specs,
            out_shape=results,
            # They select Triton; without them JAX uses Mosaic. The kernel loads rows at once, so one stage is enough.
            compiler_params=CompilerParams(num_warps=1, num_stages=1),
            name=name,
        )(*arguments)


def _arguments(walk, operands):
    """The operands as a kernel's arguments, and their blocks."""
    sequences, channels, marks = operands
    flags = Marks(*(None if mark is None else mark[..., 0] for mark in marks))
    specs = (
        jax.tree.map(lambda _: walk.sequence(), sequences),
        jax.tree.map(lambda _: walk.channels(), channels),
        jax.tree.map(lambda _: walk.flags(), flags),
    )
    return (sequences, channels, flags), specs


def _channels(walk, channels):
    """A program's channels of `(D,)`."""
    return jax.tree.map(lambda ref: _read(ref, walk.inside()), channels)


def _operands(sequences, channels, marks, step):
    """The operands' row, masked if it does not exist."""
    reset, mask = (None if ref is None else _read(ref.at[step.row], step.exists) for ref in marks)
    rows = jax.tree.map(lambda ref: _read(ref.at[step.row, :], step.channels), sequences)
    return Operands(rows, channels, Marks(reset, step.exists if mask is None else mask))


def _before(walk, states, first, step):
    """h_{t-1}, the next state on the backward walk; the initial state at its end."""
    exists = step.number + 1 < walk.shape[1]
    where = jnp.logical_and(step.channels, exists)
    before = _load(states, where, step.row - 1 if walk.reverse else step.row + 1)
    return tuple(jnp.where(exists, h, start) for h, start in zip(before, first, strict=True))


def _read(ref, where):
    """The values; zero or False outside `where`."""
    from jax.experimental.pallas.triton import load

    return load(ref, mask=where, other=None if where is None else jnp.zeros((), ref.dtype))


def _load(refs, where, row=None):
    """A number in float32."""
    return tuple(_read(ref if row is None else ref.at[row, :], where).astype(jnp.float32) for ref in refs)


def _store(refs, values, where, row=None):
    from jax.experimental.pallas.triton import store

    for ref, value in zip(refs, values, strict=True):
        store(ref if row is None else ref.at[row, :], value.astype(ref.dtype), mask=where)


def _like(array, shape, dtype=jnp.float32):
    """The shape of a result that varies over the same devices as an array does, inside `shard_map`."""
    return jax.eval_shape(lambda x: jnp.broadcast_to(jnp.sum(x), shape).astype(dtype), array)
