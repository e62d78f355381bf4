"""Shared by the Pallas kernels for TPUs and GPUs: the gates inside the kernels of a scan."""

import functools
from collections.abc import Callable

import jax
from jax import numpy as jnp

from keras_griffin.ops.jax_division import active_division
from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.ops.linear_scan.jax_pallas import Operands, of_32_bits, varying_with
from keras_griffin.ops.linear_scan.marks import Marks
from keras_griffin.ops.rg_lru.gates import gates, gates_gradient
from keras_griffin.ops.rg_lru.unit import Unit


def differentiable(scan: Callable, scan_gradient: Callable, expm1: Callable = jnp.expm1) -> Callable:
    """The package's `rg_lru` around two functions that run kernels.

    Args:
        scan: of `jax_pallas_tpu_walk.py` or `jax_pallas_gpu_walk.py`.
        scan_gradient: of the same file.
        expm1: exp(x) - 1 for x <= 0, as it can be computed in those kernels.
    """

    def rg_lru(
        unit: Unit, initial_state: Components, marks: Marks, exponent: float, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        return compiled(unit, initial_state, marks, exponent, reverse, active_division())

    # Compiled once for each shape, even if the caller is not compiled.
    @functools.partial(jax.jit, static_argnums=(3, 4, 5))
    def compiled(unit, initial_state, marks, exponent, reverse, division):
        unit, initial_state = of_32_bits((unit, initial_state))
        initial_state, channels = varying_with(unit.inputs[0], initial_state, unit[3:])
        return with_gradient(Unit(*unit[:3], *channels), initial_state, marks, exponent, reverse, division)

    @functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
    def with_gradient(unit, initial_state, marks, exponent, reverse, division):
        return forward(unit, initial_state, marks, exponent, reverse, division)[0]

    def made(rows, exponent):
        unit = Unit(*rows.sequences, *rows.channels)
        return gates(unit, rows.marks, exponent, "float32", expm1=expm1)

    def forward(unit, initial_state, marks, exponent, reverse, division):
        operands = Operands(unit[:3], unit[3:], marks)
        load = functools.partial(made, exponent=exponent)
        results = scan("rg_lru", load, operands, initial_state, reverse, unit.inputs[0].dtype, division=division)
        return results, (unit, results[0], initial_state, marks)

    def backward(exponent, reverse, division, kept, gradients):
        unit, states, initial_state, marks = kept

        def load(rows):
            return made(rows, exponent)[0]

        def finish(rows, into_decay, into_inputs):
            unit = Unit(*rows.sequences, *rows.channels)
            into = gates_gradient(unit, rows.marks, exponent, "float32", into_decay, into_inputs, expm1=expm1)
            return into[:3], into[3:]

        operands, results = Operands(unit[:3], unit[3:], marks), (unit[:3], unit[3:])
        sequences, channels, into_start = scan_gradient(
            "rg_lru_gradient",
            load,
            finish,
            operands,
            states,
            initial_state,
            gradients,
            reverse,
            results,
            division=division,
        )
        # The kernel sums over time only: its programs for the rows of a batch run in any order, or on other devices.
        channels = jax.tree.map(lambda sums, like: jnp.sum(sums, axis=0).astype(like.dtype), channels, unit[3:])
        return Unit(*sequences, *channels), into_start, None

    with_gradient.defvjp(forward, backward)
    return rg_lru
