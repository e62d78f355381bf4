"""On JAX: one compiled in-place loop along time, and the loop of `linear_scan` backward for the gradients."""

import jax

from keras_griffin.ops.log_scan.log_numbers import LOG, apply_marks, gradient_by
from keras_griffin.ops.recurrence import jax_in_place
from keras_griffin.ops.recurrence.marks import forgetting


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


def log_scan(decay, inputs, initial_state, marks):
    """Every state and the last one; see the package."""
    return _compiled(*apply_marks(decay, inputs, marks, initial_state.dtype), initial_state, forgetting(marks))


@jax.custom_vjp
def _scan(decay, inputs, initial_state, forgotten):
    return _forward(decay, inputs, initial_state, forgotten)[0]


def _forward(decay, inputs, initial_state, forgotten):
    (states,), (final_state,) = jax_in_place.scan((decay,), (inputs,), (initial_state,), forgotten, False, LOG)
    return (states, final_state), (decay, inputs, states, initial_state, forgotten)


def _backward(kept, gradients):
    return *gradient_by(jax_in_place.scan_gradient, *kept, gradients), None


_scan.defvjp(_forward, _backward)
# Compiled once for each shape, even if the caller is not compiled.
_compiled = jax.jit(_scan)
