"""A scan and the scan of its gradient as one compiled JAX function."""

import functools
from collections.abc import Callable

import jax

from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.ops.linear_scan.marks import on_effective
from keras_griffin.shapes import Tensor


def differentiable(scan: Callable, scan_gradient: Callable) -> Callable:
    """The `linear_scan` of an implementation, with marks handled by `on_effective`.

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

    @on_effective
    # Compiled once for each shape, even if the caller is not compiled.
    @functools.partial(jax.jit, static_argnums=(4,))
    def linear_scan(
        decay: Components, inputs: Components, initial_state: Components, forgotten: Tensor | None, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        return whole(decay, inputs, initial_state, forgotten, reverse)

    return linear_scan
