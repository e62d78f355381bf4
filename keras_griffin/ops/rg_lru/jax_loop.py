"""On JAX: the gates, then a loop in time; for the gradient the gates are recomputed instead of stored."""

from keras_griffin.ops.recurrence import jax_in_place
from keras_griffin.ops.recurrence.jax_gradient import with_gradient
from keras_griffin.ops.rg_lru.gates import gated_scan, gated_scan_gradient


def recomputing(scan, scan_gradient):
    """The package's `rg_lru` around one way to scan: its `scan` and `scan_gradient`."""

    def forward(tensors, exponent, reverse):
        unit, initial_state, marks = tensors
        results = gated_scan(scan, *tensors, exponent, reverse)
        return results, (unit, results[0], initial_state, marks)

    def backward(kept, gradients, exponent, reverse):
        return *gated_scan_gradient(scan_gradient, *kept, gradients, exponent, reverse), None

    call = with_gradient(forward, backward)

    def rg_lru(unit, initial_state, marks, exponent, reverse):
        return call((unit, initial_state, marks), (exponent, reverse))

    return rg_lru


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


rg_lru = recomputing(jax_in_place.scan, jax_in_place.scan_gradient)
