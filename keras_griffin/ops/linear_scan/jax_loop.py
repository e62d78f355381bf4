"""On JAX: one compiled in-place loop along time, and one such loop backward for the gradients."""

from keras_griffin.ops.recurrence.jax_gradient import differentiable
from keras_griffin.ops.recurrence.jax_in_place import scan, scan_gradient


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


linear_scan = differentiable(scan, scan_gradient)
