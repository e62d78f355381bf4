"""A scan and the scan of its gradient as one compiled JAX function."""

import functools
from collections.abc import Callable

import jax
from jax import numpy as jnp

from keras_griffin.ops.recurrence.marks import Marks, with_marks_applied
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.shared.jax_division import active_division, on_each_device, varying_with
from keras_griffin.shapes import Tensor

#: How the arrays are divided over devices; see `on_each_device`.
SEQUENCE, STATE, MARKS = "b-c", "bc", Marks("b--", "b--")


def differentiable(scan: Callable, scan_gradient: Callable) -> Callable:
    """The `linear_scan` of an implementation, with marks handled by `with_marks_applied`.

    Args:
        scan: `(decay, inputs, initial_state, forgotten, reverse) -> (states, final_state)`, forward only.
        scan_gradient: `(decay, states, initial_state, forgotten, gradients, reverse)`, where the gradients are those
            for the results of `scan`; returns the gradients for decay, inputs and initial state.
    """

    @functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
    def whole(decay, inputs, initial_state, forgotten, reverse):
        return scan(decay, inputs, initial_state, forgotten, reverse)

    def forward(decay, inputs, initial_state, forgotten, reverse):
        states, final_state = scan(decay, inputs, initial_state, forgotten, reverse)
        return (states, final_state), (decay, states, initial_state, forgotten)

    def backward(reverse, residuals, gradients):
        return *scan_gradient(*residuals, gradients, reverse), None

    whole.defvjp(forward, backward)

    @with_marks_applied
    # Compiled once for each shape, even if the caller is not compiled.
    @functools.partial(jax.jit, static_argnums=(4,))
    def linear_scan(
        decay: Components, inputs: Components, initial_state: Components, forgotten: Tensor | None, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        return whole(decay, inputs, initial_state, forgotten, reverse)

    return linear_scan


def of_kernels(scan: Callable, scan_gradient: Callable) -> Callable:
    """The `linear_scan` of an implementation whose kernels handle marks and dtypes, over devices.

    Args:
        scan: `(decay, inputs, initial_state, marks, reverse) -> (states, final_state)`, forward only.
        scan_gradient: `(decay, states, initial_state, marks, gradients, reverse)`; returns the gradients for decay,
            inputs and initial state.
    """

    def linear_scan(
        decay: Components, inputs: Components, initial_state: Components, marks: Marks, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        return compiled(decay, inputs, initial_state, marks, reverse, active_division())

    # Compiled once for each shape, even if the caller is not compiled.
    @functools.partial(jax.jit, static_argnums=(4, 5))
    def compiled(decay, inputs, initial_state, marks, reverse, division):
        decay, initial_state = of_32_bits((decay, initial_state))
        initial_state, _ = varying_with(inputs[0], initial_state)
        return with_gradient(decay, inputs, initial_state, marks, reverse, division)

    @functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
    def with_gradient(decay, inputs, initial_state, marks, reverse, division):
        return forward(decay, inputs, initial_state, marks, reverse, division)[0]

    def forward(decay, inputs, initial_state, marks, reverse, division):
        arguments, axes = (decay, inputs, initial_state, marks), (SEQUENCE, SEQUENCE, STATE, MARKS)
        run, sizes = functools.partial(scan, reverse=reverse), initial_state[0].shape
        results = on_each_device(run, division, sizes, arguments, axes, (SEQUENCE, STATE))
        return results, (decay, results[0], initial_state, marks)

    def backward(reverse, division, kept, gradients):
        axes = SEQUENCE, SEQUENCE, STATE, MARKS, (SEQUENCE, STATE)
        run, sizes = functools.partial(scan_gradient, reverse=reverse), gradients[1][0].shape
        return *on_each_device(run, division, sizes, (*kept, gradients), axes, (SEQUENCE, SEQUENCE, STATE)), None

    with_gradient.defvjp(forward, backward)
    return linear_scan


def of_32_bits(arrays):
    """A tree of arrays in which float64 is float32, as kernels compute it; gradients come back as float64."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, arrays)
