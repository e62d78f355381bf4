"""On JAX on a GPU: Pallas kernels, in Triton, that make the gates in registers, and again for the gradient."""

import functools

import jax
from jax import numpy as jnp

from keras_griffin.ops.linear_scan import jax_pallas_gpu
from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.ops.linear_scan.jax_pallas_gpu_walk import scan, scan_gradient
from keras_griffin.ops.linear_scan.jax_pallas_walk import Operands, varying_with
from keras_griffin.ops.linear_scan.marks import Marks
from keras_griffin.ops.rg_lru.gates import gates, gates_gradient
from keras_griffin.ops.rg_lru.unit import Unit

supports = jax_pallas_gpu.supports

#: Fewer than those of `linear_scan`: a step is one of more arrays here.
ROWS = 4


# Compiled once for each shape, also where it is called outside of any compiled function.
@functools.partial(jax.jit, static_argnums=(3, 4))
def rg_lru(
    unit: Unit, initial_state: Components, marks: Marks, exponent: float, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    initial_state, channels = varying_with(unit.inputs[0], initial_state, unit[3:])
    return _differentiable(Unit(*unit[:3], *channels), initial_state, marks, exponent, reverse)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _differentiable(unit, initial_state, marks, exponent, reverse):
    return _forward(unit, initial_state, marks, exponent, reverse)[0]


def _forward(unit, initial_state, marks, exponent, reverse):
    def load(row):
        return gates(Unit(*row.sequences, *row.channels), row.marks, exponent, "float32")

    operands = Operands(unit[:3], unit[3:], marks)
    results = scan("rg_lru", load, operands, initial_state, reverse, unit.inputs[0].dtype, ROWS)
    return results, (unit, results[0], initial_state, marks)


def _backward(exponent, reverse, kept, gradients):
    unit, states, initial_state, marks = kept

    def load(row):
        return gates(Unit(*row.sequences, *row.channels), row.marks, exponent, "float32")[0]

    def finish(row, into_decay, into_inputs):
        unit = Unit(*row.sequences, *row.channels)
        gradient = gates_gradient(unit, row.marks, exponent, "float32", into_decay, into_inputs)
        return gradient[:3], gradient[3:]

    sequences, channels, into_start = scan_gradient(
        "rg_lru_gradient",
        load,
        finish,
        Operands(unit[:3], unit[3:], marks),
        states,
        initial_state,
        gradients,
        reverse,
        results=(unit[:3], unit[3:]),
        rows=ROWS,
    )
    # The kernel sums over time; over the batch its programs run in any order.
    channels = jax.tree.map(lambda sums, like: jnp.sum(sums, axis=0).astype(like.dtype), channels, unit[3:])
    return Unit(*sequences, *channels), into_start, None


_differentiable.defvjp(_forward, _backward)
