"""A kernel of `rg_lru` and the kernel of its gradient as one compiled JAX function, over devices."""

import functools
from collections.abc import Callable

import jax
from jax import numpy as jnp

from keras_griffin.ops.recurrence.jax_gradient import MARKS, SEQUENCE, STATE, of_32_bits
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.rg_lru.inputs import GatedScanInputs
from keras_griffin.ops.shared.jax_division import active_division, on_each_device, varying_with

#: How the arrays are divided over devices; see `on_each_device`.
_UNIT, _INTO_UNIT = (GatedScanInputs._make([*[SEQUENCE] * 3, *[channels] * 2]) for channels in ("c", STATE))


def of_kernels(scan: Callable, scan_gradient: Callable) -> Callable:
    """The package's `rg_lru` around two functions that run kernels.

    Args:
        scan: `(unit, initial_state, marks, exponent, reverse) -> (states, final_state)`, forward only.
        scan_gradient: `(unit, states, initial_state, marks, gradients, exponent, reverse)`; returns the gradients for
            unit and initial state. Those for Lambda and theta are each row's, `(B, D)`: a kernel sums over time only,
            since its programs for the rows of a batch run in any order, or on other devices.
    """

    def rg_lru(
        unit: GatedScanInputs, initial_state: Components, marks: Marks, exponent: float, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        return compiled(unit, initial_state, marks, exponent, reverse, active_division())

    # Compiled once for each shape, even if the caller is not compiled.
    @functools.partial(jax.jit, static_argnums=(3, 4, 5))
    def compiled(unit, initial_state, marks, exponent, reverse, division):
        unit, initial_state = of_32_bits((unit, initial_state))
        initial_state, channels = varying_with(unit.inputs[0], initial_state, unit[3:])
        return with_gradient(GatedScanInputs(*unit[:3], *channels), initial_state, marks, exponent, reverse, division)

    @functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
    def with_gradient(unit, initial_state, marks, exponent, reverse, division):
        return forward(unit, initial_state, marks, exponent, reverse, division)[0]

    def forward(unit, initial_state, marks, exponent, reverse, division):
        run, sizes = functools.partial(scan, exponent=exponent, reverse=reverse), initial_state[0].shape
        arguments, axes = (unit, initial_state, marks), (_UNIT, STATE, MARKS)
        results = on_each_device(run, division, sizes, arguments, axes, (SEQUENCE, STATE))
        return results, (unit, results[0], initial_state, marks)

    def backward(exponent, reverse, division, kept, gradients):
        run, sizes = functools.partial(scan_gradient, exponent=exponent, reverse=reverse), gradients[1][0].shape
        axes = _UNIT, SEQUENCE, STATE, MARKS, (SEQUENCE, STATE)
        into, into_start = on_each_device(run, division, sizes, (*kept, gradients), axes, (_INTO_UNIT, STATE))
        channels = jax.tree.map(lambda rows, like: jnp.sum(rows, axis=0).astype(like.dtype), into[3:], kept[0][3:])
        return GatedScanInputs(*into[:3], *channels), into_start, None

    with_gradient.defvjp(forward, backward)
    return rg_lru
