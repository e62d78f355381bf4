"""On JAX: one loop over chunks of time, which keeps the state before each, and one such loop back for the gradients.

The loop back computes a chunk's states again, and then walks through them from its last step to its first. So what is
in memory beside the arguments and their gradients is some sqrt(T) states.
"""

import functools
import math

import jax
from jax import lax
from jax import numpy as jnp

from keras_griffin.ops.selective_scan.equations import advance, output, retreat
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.selective_scan.masked import with_mask_applied
from keras_griffin.shapes import Tensor


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


@with_mask_applied
# Compiled once for each shape, even if the caller is not compiled.
@jax.jit
def selective_scan(
    selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The outputs and the last state; see the package."""
    length = selection.inputs.shape[1]
    chunks = math.ceil(length / _steps_of_a_chunk(length))
    beyond = math.ceil(length / chunks) * chunks - length
    # A step of size zero changes no state.
    padded = (x if x is selection.rates else _with_steps(x, beyond) for x in selection)
    reset = None if reset is None else _with_steps(reset, beyond)
    outputs, final_state = _differentiable(SelectiveScanInputs(*padded), initial_state, reset, chunks)
    return outputs[:, :length], final_state


def _steps_of_a_chunk(length):
    """About sqrt(T), and a divisor of T if there is one: padding copies every sequence."""
    root = math.isqrt(length)
    divisors = [steps for steps in range((root + 1) // 2, 2 * root + 1) if length % steps == 0]
    return min(divisors, key=lambda steps: abs(steps - root), default=root)


def _with_steps(x, beyond):
    return jnp.pad(x, [(0, 0), (0, beyond), *[(0, 0)] * (x.ndim - 2)]) if beyond else x


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _differentiable(selection, initial_state, reset, chunks):
    return _forward(selection, initial_state, reset, chunks)[0]


def _forward(selection, initial_state, reset, chunks):
    rates = _rates(selection, initial_state)

    def chunk(i, carried):
        state, starts, outputs = carried
        starts = lax.dynamic_update_index_in_dim(starts, state, i, 0)

        def step(state, row):
            state = advance(rates, state, *row)
            return state, output(state, row[0])

        state, rows = lax.scan(step, state, _rows(selection, reset, i, chunks, state.dtype))
        return state, starts, _written(outputs, rows, i)

    state = jnp.swapaxes(initial_state, 1, 2)
    starts = jnp.broadcast_to(state, (chunks, *state.shape))
    state, starts, outputs = lax.fori_loop(0, chunks, chunk, (state, starts, selection.inputs))
    return (outputs, jnp.swapaxes(state, 1, 2)), (selection, starts, reset)


def _backward(chunks, kept, gradients):
    selection, starts, reset = kept
    into_outputs, into_state = gradients
    rates = _rates(selection, into_state)
    into_state = jnp.swapaxes(into_state, 1, 2)

    def chunk(i, carried):
        i = chunks - 1 - i
        gradient, into_rates, into_sequences = carried
        rows = _rows(selection, reset, i, chunks, gradient.dtype)
        (into_rows,) = _chunk_of((into_outputs,), i, chunks, gradient.dtype)
        start = lax.dynamic_index_in_dim(starts, i, 0, keepdims=False)
        _, before = lax.scan(lambda state, row: (advance(rates, state, *row), state), start, rows)

        def step(carried, row):
            (gradient, into_rates), (before, here, into_output) = carried, row
            gradient, into_rates_here, into_step = retreat(rates, gradient, before, *here, into_output)
            return (gradient, into_rates + into_rates_here), into_step

        carried, written = lax.scan(step, (gradient, into_rates), (before, rows, into_rows), reverse=True)
        arrays = zip(into_sequences, written, strict=True)
        return *carried, tuple(_written(array, part, i) for array, part in arrays)

    # Every number of these is overwritten. Like all that is carried, they vary over the devices of the arguments.
    into_sequences = tuple(x for x in selection if x is not selection.rates)
    carried = into_state, 0.0 * jnp.isnan(into_state), into_sequences
    into_state, into_rates, (inputs, sizes, b, c) = lax.fori_loop(0, chunks, chunk, carried)
    into_rates = jnp.sum(into_rates, 0).T.astype(selection.rates.dtype)
    return SelectiveScanInputs(inputs, sizes, into_rates, b, c), jnp.swapaxes(into_state, 1, 2), None


_differentiable.defvjp(_forward, _backward)


def _rates(selection, state):
    return selection.rates.astype(state.dtype).T


def _rows(selection, reset, i, chunks, dtype):
    """The steps of a chunk, to scan over: a selection without rates, and where the past is forgotten."""
    inputs, sizes, _, b, c = selection
    inputs, sizes, b, c = _chunk_of((inputs, sizes, b, c), i, chunks, dtype)
    forgets = None if reset is None else _chunk_of((reset[..., None, None],), i, chunks, bool)[0]
    return SelectiveScanInputs(inputs, sizes, None, b, c), forgets


def _chunk_of(arrays, i, chunks, dtype):
    """The i-th chunk of each array `(B, T, ...)`, with time first."""
    parts = (lax.dynamic_slice_in_dim(x, i * (x.shape[1] // chunks), x.shape[1] // chunks, 1) for x in arrays)
    return [jnp.swapaxes(part, 0, 1).astype(dtype) for part in parts]


def _written(array, rows, i):
    """The array `(B, T, ...)` with the i-th chunk written, which has time first."""
    rows = jnp.swapaxes(rows, 0, 1).astype(array.dtype)
    return lax.dynamic_update_slice_in_dim(array, rows, i * rows.shape[1], 1)
