"""On JAX on a TPU: Pallas kernels that read each number once, keep the state on chip, and write each result once."""

import functools

import jax
import keras
from jax import numpy as jnp

from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.ops.linear_scan.jax_pallas_walk import Operands, scan, scan_gradient, varying_with
from keras_griffin.ops.linear_scan.marks import Marks, effective


def supports(facts) -> str | None:
    """What a TPU computes with."""
    if facts.device != "tpu":
        return "needs a TPU"
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
    def load(group):
        return effective(*group.sequences, group.marks, "float32")

    operands = Operands((decay, inputs), None, marks)
    results = scan("linear_scan", load, operands, initial_state, reverse, inputs[0].dtype, (2, 0))
    return results, (decay, results[0], initial_state, marks)


def _backward(reverse, kept, gradients):
    decay, states, initial_state, marks = kept

    def load(group):
        return effective(group.sequences, group.sequences, group.marks, "float32")[0]

    def finish(group, into_decay, into_inputs):
        return (_seen(into_decay, group.marks, forget=True), _seen(into_inputs, group.marks)), None

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
        cost=(3, 0),
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
