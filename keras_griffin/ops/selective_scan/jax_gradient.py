"""A kernel of `selective_scan` and the kernel of its gradient as one compiled JAX function, over devices."""

from collections.abc import Callable

from jax import numpy as jnp

from keras_griffin.ops.recurrence.jax_gradient import on_devices
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs, with_mask_applied
from keras_griffin.ops.shared.jax_division import inside_shard_map
from keras_griffin.shapes import Tensor

#: How the arrays are divided over devices; gradients are sums over a device's rows and channels.
_ARGUMENTS = SelectiveScanInputs("b-c", "b-c", "c-", "b--", "b--"), "bc-", "b-"
_RESULTS = "b-c", "bc-", "b--c"
_INTO = SelectiveScanInputs("b-c", "b-c", "bc-", "cb--", "cb--"), "bc-"


def differentiable(scan: Callable, scan_gradient: Callable) -> Callable:
    """The package's `selective_scan` around kernels, as in `triton_passes.py`; for the arguments see `on_devices`."""
    keep = lambda tensors, results: (tensors[0], results[2], tensors[2])  # noqa: E731
    call = on_devices(scan, scan_gradient, keep, _ARGUMENTS, _RESULTS, _INTO)

    @with_mask_applied
    def selective_scan(
        selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The outputs and the last state; see the package."""
        if inside_shard_map():
            # JAX then sums gradients over the devices that hold copies.
            nothing = 0.0 * jnp.isnan(selection.inputs[:, 0]).astype("float32")[..., None]
            rates = (selection.rates + nothing[0]).astype(selection.rates.dtype)
            selection, initial_state = selection._replace(rates=rates), initial_state + nothing
        return call((selection, initial_state, reset), ())

    return selective_scan
