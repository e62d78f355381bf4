"""On JAX: one compiled in-place loop along time, and the loop of `linear_scan` backward for the gradients."""

import jax

from keras_griffin.ops.log_scan.log_numbers import LOG, all_log_odds, apply_marks
from keras_griffin.ops.recurrence import jax_in_place
from keras_griffin.ops.recurrence.marks import Marks, forgetting, zero_where
from keras_griffin.shapes import Tensor


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


def log_scan(decay: Tensor, inputs: Tensor, initial_state: Tensor, marks: Marks) -> tuple[Tensor, Tensor]:
    """Every state and the last one; see the package."""
    return _scan(*apply_marks(decay, inputs, marks, initial_state.dtype), initial_state, forgetting(marks))


# Compiled once for each shape, even if the caller is not compiled.
@jax.jit
def _scan(decay, inputs, initial_state, forgotten):
    return _differentiable(decay, inputs, initial_state, forgotten)


@jax.custom_vjp
def _differentiable(decay, inputs, initial_state, forgotten):
    return _forward(decay, inputs, initial_state, forgotten)[0]


def _forward(decay, inputs, initial_state, forgotten):
    (states,), (final_state,) = jax_in_place.scan((decay,), (inputs,), (initial_state,), forgotten, False, LOG)
    return (states, final_state), (decay, inputs, states, initial_state, forgotten)


def _backward(kept, gradients):
    decay, inputs, states, initial_state, forgotten = kept
    odds = all_log_odds(decay, inputs, states, initial_state, forgotten)
    past = jax.nn.sigmoid(odds)
    given = (gradients[0],), (gradients[1],)
    numbers = (past,), (states,), (initial_state,)
    _, (flow,), (into_start,) = jax_in_place.scan_gradient(*numbers, forgotten, given, False)
    (into_decay,) = zero_where(forgotten, (flow * past,))
    return into_decay, flow * jax.nn.sigmoid(-odds), into_start, None


_differentiable.defvjp(_forward, _backward)
