"""On JAX: the gates, then a loop in time; for the gradient the gates are recomputed instead of stored."""

import functools

import jax

from keras_griffin.ops.recurrence.jax_in_place import scan, scan_gradient
from keras_griffin.ops.recurrence.marks import forgetting
from keras_griffin.ops.rg_lru.gates import gates, gates_gradient


def recomputing(scan, scan_gradient):
    """The package's `rg_lru` around one way to scan: its `scan` and `scan_gradient`."""

    # Compiled once for each shape, even if the caller is not compiled.
    @functools.partial(jax.jit, static_argnums=(3, 4))
    def rg_lru(unit, initial_state, marks, exponent, reverse):
        return differentiable(unit, initial_state, marks, exponent, reverse)

    @functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
    def differentiable(unit, initial_state, marks, exponent, reverse):
        return forward(unit, initial_state, marks, exponent, reverse)[0]

    def forward(unit, initial_state, marks, exponent, reverse):
        decay, gated_inputs = gates(unit, marks, exponent, initial_state[0].dtype)
        states, final_state = scan(decay, gated_inputs, initial_state, forgetting(marks), reverse)
        return (states, final_state), (unit, states, initial_state, marks)

    def backward(exponent, reverse, kept, gradients):
        unit, states, initial_state, marks = kept
        dtype = initial_state[0].dtype
        decay, _ = gates(unit, marks, exponent, dtype)
        into_decay, into_inputs, into_start = scan_gradient(
            decay, states, initial_state, forgetting(marks), gradients, reverse
        )
        gradient = gates_gradient(unit, marks, exponent, dtype, into_decay, into_inputs)
        return jax.tree.map(lambda x, like: x.astype(like.dtype), gradient, unit), into_start, None

    differentiable.defvjp(forward, backward)
    return rg_lru


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


rg_lru = recomputing(scan, scan_gradient)
