"""On JAX on a TPU: Pallas kernels that read each number once, keep the state on chip, and write each result once."""

from jax import numpy as jnp

from keras_griffin.ops.recurrence.jax_gradient import of_kernels
from keras_griffin.ops.recurrence.kernels.jax_pallas_tpu_walk import Operands, scan, scan_gradient, supports
from keras_griffin.ops.recurrence.marks import apply_marks, zero_where

__all__ = ["linear_scan", "supports"]


def _scan(decay, inputs, initial_state, marks, reverse):
    def load(rows):
        return apply_marks(*rows.sequences, rows.marks, "float32")

    operands = Operands((decay, inputs), None, marks)
    return scan("linear_scan", load, operands, initial_state, reverse, inputs[0].dtype, cost=(2, 0))


def _gradient(decay, states, initial_state, marks, gradients, reverse):
    def load(rows):
        return apply_marks(rows.sequences, rows.sequences, rows.marks, "float32")[0]

    def finish(rows, into_decay, into_inputs):
        into_decay, into_inputs = _seen(into_decay, rows.marks.mask), _seen(into_inputs, rows.marks.mask)
        return (zero_where(rows.marks.reset, into_decay), into_inputs), None

    operands, results = Operands(decay, None, marks), ((decay, states), None)
    arguments = operands, states, initial_state, gradients, reverse, results
    (into_decay, into_inputs), _, into_start = scan_gradient(
        "linear_scan_gradient", load, finish, *arguments, cost=(3, 0)
    )
    return into_decay, into_inputs, into_start


def _seen(gradient, mask):
    """Zero where a step is masked."""
    return gradient if mask is None else tuple(jnp.where(mask, g, 0.0) for g in gradient)


linear_scan = of_kernels(_scan, _gradient)
