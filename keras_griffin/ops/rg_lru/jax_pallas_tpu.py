"""On JAX on a TPU: Pallas kernels that make the gates where they need them, on chip, and again for the gradient."""

import functools

import jax
from jax import numpy as jnp

from keras_griffin.ops.linear_scan import jax_pallas_tpu
from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.ops.linear_scan.jax_pallas_walk import Operands, scan, scan_gradient, varying_with
from keras_griffin.ops.linear_scan.marks import Marks
from keras_griffin.ops.rg_lru.gates import gates, gates_gradient
from keras_griffin.ops.rg_lru.unit import Unit

supports = jax_pallas_tpu.supports


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
    def load(group):
        return gates(Unit(*group.sequences, *group.channels), group.marks, exponent, "float32", expm1=_expm1)

    operands = Operands(unit[:3], unit[3:], marks)
    results = scan("rg_lru", load, operands, initial_state, reverse, unit.inputs[0].dtype, cost=(40, 5))
    return results, (unit, results[0], initial_state, marks)


def _backward(exponent, reverse, kept, gradients):
    unit, states, initial_state, marks = kept

    def load(group):
        unit = Unit(*group.sequences, *group.channels)
        return gates(unit, group.marks, exponent, "float32", expm1=_expm1)[0]

    def finish(group, into_decay, into_inputs):
        unit = Unit(*group.sequences, *group.channels)
        gradient = gates_gradient(unit, group.marks, exponent, "float32", into_decay, into_inputs, expm1=_expm1)
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
        cost=(80, 10),
    )
    # The kernel sums over time; over the batch its blocks are made in any order.
    channels = jax.tree.map(lambda sums, like: jnp.sum(sums, axis=0).astype(like.dtype), channels, unit[3:])
    return Unit(*sequences, *channels), into_start, None


_differentiable.defvjp(_forward, _backward)


def _expm1(x):
    """exp(x) - 1 for x <= 0, which Pallas lacks: near zero its series, whose ninth term is beyond float32."""
    series = jnp.full_like(x, 1.0 / 40320.0)
    for factorial in (5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0):
        series = series * x + 1.0 / factorial
    return jnp.where(x > -0.5, series * x, jnp.exp(x) - 1.0)
