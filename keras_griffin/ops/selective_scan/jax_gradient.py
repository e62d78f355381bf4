"""A kernel of `selective_scan` and the kernel of its gradient as one compiled JAX function, over devices."""

import functools
from collections.abc import Callable

import jax
from jax import numpy as jnp

from keras_griffin.ops.recurrence.jax_gradient import of_32_bits
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.selective_scan.masked import with_mask_applied
from keras_griffin.ops.shared.jax_division import active_division, inside_shard_map, on_each_device
from keras_griffin.shapes import Tensor

#: How the arrays are divided over devices; see `on_each_device`.
_SELECTION = SelectiveScanInputs("b-c", "b-c", "c-", "b--", "b--")
_STARTS = "b--c"


def differentiable(scan: Callable, scan_gradient: Callable) -> Callable:
    """The package's `selective_scan` around two functions that run kernels.

    Args:
        scan: `(selection, initial_state, reset)`; returns the outputs, the last state, and the states before blocks of
            time, `(B, blocks, N, D)`.
        scan_gradient: `(selection, starts, reset, gradients)`, where `starts` are these states and the gradients are
            for the first two results; returns the gradients for u, s, A, b, c and the initial state. That for A is
            each row's, `(B, D, N)`; those for b and c are each block of channels', `(blocks, B, T, N)`.
    """

    @with_mask_applied
    def selective_scan(
        selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The outputs and the last state; see the package."""
        return compiled(selection, initial_state, reset, active_division())

    # Compiled once for each shape, even if the caller is not compiled.
    @functools.partial(jax.jit, static_argnums=(3,))
    def compiled(selection, initial_state, reset, division):
        selection, initial_state = of_32_bits((selection, initial_state))
        if inside_shard_map():
            # JAX then sums gradients over the devices that hold copies.
            nothing = 0.0 * jnp.isnan(selection.inputs[:, 0]).astype("float32")[..., None]
            rates = (selection.rates + nothing[0]).astype(selection.rates.dtype)
            selection, initial_state = selection._replace(rates=rates), initial_state + nothing
        return with_gradient(selection, initial_state, reset, division)

    @functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
    def with_gradient(selection, initial_state, reset, division):
        return forward(selection, initial_state, reset, division)[0]

    def forward(selection, initial_state, reset, division):
        arguments, axes = (selection, initial_state, reset), (_SELECTION, "bc-", "b-")
        sizes, results = initial_state.shape[:2], ("b-c", "bc-", _STARTS)
        outputs, final_state, starts = on_each_device(scan, division, sizes, arguments, axes, results)
        return (outputs, final_state), (selection, starts, reset)

    def backward(division, kept, gradients):
        selection, starts, reset = kept
        arguments, axes = (selection, starts, reset, gradients), (_SELECTION, _STARTS, "b-", ("b-c", "bc-"))
        # Sums of a device's rows and channels, yet to be summed over all.
        results = "b-c", "b-c", "bc-", "cb--", "cb--", "bc-"
        sizes = gradients[1].shape[:2]
        into_u, into_s, *parts, into_start = on_each_device(scan_gradient, division, sizes, arguments, axes, results)
        sums = (jnp.sum(part, 0) for part in parts)
        into_rates, into_b, into_c = (x.astype(like.dtype) for x, like in zip(sums, selection[2:], strict=True))
        return SelectiveScanInputs(into_u, into_s, into_rates, into_b, into_c), into_start, None

    with_gradient.defvjp(forward, backward)
    return selective_scan
