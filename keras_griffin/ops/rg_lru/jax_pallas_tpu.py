"""On JAX on a TPU: Pallas kernels that compute the gates on chip, and again for the gradient."""

from jax import numpy as jnp

from keras_griffin.ops.recurrence.kernels.jax_pallas_tpu_walk import Operands, scan, scan_gradient, supports
from keras_griffin.ops.rg_lru.gates import GatedScanInputs, gates, gates_gradient
from keras_griffin.ops.rg_lru.jax_gradient import of_kernels

__all__ = ["rg_lru", "supports"]


def expm1(x):
    """exp(x) - 1 for x <= 0, which Pallas lacks on TPUs: near zero by its series, to the precision of float32."""
    series = jnp.full_like(x, 1.0 / 40320.0)
    for factorial in (5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0):
        series = series * x + 1.0 / factorial
    return jnp.where(x > -0.5, series * x, jnp.exp(x) - 1.0)


def _made(rows, exponent):
    return gates(GatedScanInputs(*rows.sequences, *rows.channels), rows.marks, exponent, "float32", expm1=expm1)


def _scan(unit, initial_state, marks, exponent, reverse):
    def load(rows):
        return _made(rows, exponent)

    operands = Operands(unit[:3], unit[3:], marks)
    return scan("rg_lru", load, operands, initial_state, reverse, unit.inputs[0].dtype, cost=(40, 5))


def _gradient(unit, states, initial_state, marks, gradients, exponent, reverse):
    def load(rows):
        return _made(rows, exponent)[0]

    def finish(rows, into_decay, into_inputs):
        unit = GatedScanInputs(*rows.sequences, *rows.channels)
        into = gates_gradient(unit, rows.marks, exponent, "float32", into_decay, into_inputs, expm1=expm1)
        return into[:3], into[3:]

    operands, results = Operands(unit[:3], unit[3:], marks), (unit[:3], unit[3:])
    arguments = operands, states, initial_state, gradients, reverse, results
    sequences, channels, into_start = scan_gradient("rg_lru_gradient", load, finish, *arguments, cost=(80, 10))
    return GatedScanInputs(*sequences, *channels), into_start


rg_lru = of_kernels(_scan, _gradient)
