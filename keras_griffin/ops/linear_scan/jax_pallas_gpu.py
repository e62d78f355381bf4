"""On JAX on a GPU: Pallas kernels, in Triton, that keep the state in registers and write each result once."""

import functools

import jax
import keras
from jax import numpy as jnp

from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.ops.linear_scan.jax_pallas_gpu_walk import scan, scan_gradient
from keras_griffin.ops.linear_scan.jax_pallas_walk import Operands, varying_with
from keras_griffin.ops.linear_scan.marks import Marks, effective


def supports(facts) -> str | None:
    """All but float64, on one GPU."""
    if facts.device != "gpu":
        return "needs a GPU"
    if keras.distribution.distribution() is not None:
        # `shard_map` divides it; XLA by itself would gather all arrays on every device.
        return "can't be divided among devices by XLA"
    return "computes in float32" if facts.dtype == "float64" else None


# Compiled once for each shape, also where it is called outside of any compiled function.
@functools.partial(jax.jit, static_argnums=(4,))
def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, marks: Marks, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    initial_state, _ = varying_with(inputs[0], initial_state)
    return _differentiable_scan(decay, inputs, initial_state, marks, reverse)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _differentiable_scan(decay, inputs, initial_state, marks, reverse):
    return _forward(decay, inputs, initial_state, marks, reverse)[0]


def _forward(decay, inputs, initial_state, marks, reverse):
    def load(row):
        return effective(*row.sequences, row.marks, "float32")

    operands = Operands((decay, inputs), None, marks)
    results = scan("linear_scan", load, operands, initial_state, reverse, inputs[0].dtype)
    return results, (decay, results[0], initial_state, marks)


def _backward(reverse, kept, gradients):
    decay, states, initial_state, marks = kept

    def load(row):
        return effective(row.sequences, row.sequences, row.marks, "float32")[0]

    def finish(row, into_decay, into_inputs):
        return (_seen(into_decay, row.marks, forget=True), _seen(into_inputs, row.marks)), None

    (into_decay, into_inputs), _, into_start = scan_gradient(
        "linear_scan_gradient",
        load,
        finish,
        Operands(decay, None, marks),
        states,
        initial_state,
        gradients,
        reverse,
        results=((decay, states), None),
    )
    return into_decay, into_inputs, into_start, None


_differentiable_scan.defvjp(_forward, _backward)


def _seen(gradient, marks, forget=False):
    """The gradient, zero where a step is masked, or where its decay was replaced by zero."""
    if marks.mask is not None:
        gradient = tuple(jnp.where(marks.mask, g, 0.0) for g in gradient)
    if forget and marks.reset is not None:
        gradient = tuple(jnp.where(marks.reset, 0.0, g) for g in gradient)
    return gradient
