"""Shared by the Pallas kernels for TPUs and GPUs: `log_scan` around the walks of `linear_scan`.

For the gradient, the forward kernel notes the logarithm of the odds of past against input, in float32. It replaces
states, decays and inputs there: the shares are as precise as those odds, in whatever dtype the states are.
"""

import functools
from collections.abc import Callable

import jax
from jax import numpy as jnp

from keras_griffin.ops.jax_division import active_division
from keras_griffin.ops.linear_scan.jax_pallas import Operands, of_32_bits, varying_with
from keras_griffin.ops.linear_scan.marks import Marks, unless
from keras_griffin.ops.log_scan.log_numbers import LOG, effective, log_odds
from keras_griffin.shapes import Tensor


def differentiable(scan: Callable, scan_gradient: Callable) -> Callable:
    """The package's `log_scan` around two functions of `jax_pallas_tpu_walk.py` or `jax_pallas_gpu_walk.py`."""

    def log_scan(decay: Tensor, inputs: Tensor, initial_state: Tensor, marks: Marks) -> tuple[Tensor, Tensor]:
        """Every state and the last one; see the package."""
        return compiled(decay, inputs, initial_state, marks, active_division())

    # Compiled once for each shape, even if the caller is not compiled.
    @functools.partial(jax.jit, static_argnums=(4,))
    def compiled(decay, inputs, initial_state, marks, division):
        decay, initial_state = of_32_bits((decay, initial_state))
        (initial_state,), _ = varying_with(inputs, (initial_state,))
        return with_gradient(decay, inputs, initial_state, marks, division)

    @functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
    def with_gradient(decay, inputs, initial_state, marks, division):
        (states,), (final_state,) = run(decay, inputs, initial_state, marks, division)
        return states, final_state

    def run(decay, inputs, initial_state, marks, division, note=None):
        def load(rows):
            decay, inputs = effective(*rows.sequences, rows.marks, "float32")
            return (decay,), (inputs,)

        operands = Operands((decay, inputs), None, marks)
        options = {"semiring": LOG, "note": note, "division": division}
        return scan("log_scan", load, operands, (initial_state,), False, inputs.dtype, **options)

    def forward(decay, inputs, initial_state, marks, division):
        (states,), (final_state,), (odds,) = run(decay, inputs, initial_state, marks, division, _log_odds)
        dtypes = jnp.zeros(0, decay.dtype), jnp.zeros(0, inputs.dtype)
        return (states, final_state), (odds, marks, dtypes)

    def backward(division, kept, gradients):
        odds, marks, dtypes = kept

        def finish(rows, _, into_states):
            (flow,), reset = into_states, rows.marks.reset
            (into_decay,) = unless(reset, (flow * jax.nn.sigmoid(rows.sequences),))
            into_inputs = flow * jax.nn.sigmoid(-rows.sequences)
            return tuple(_where_seen(x, rows.marks, 0.0) for x in (into_decay, into_inputs)), None

        given, operands = tuple((gradient,) for gradient in gradients), Operands(odds, None, marks)
        (into_decay, into_inputs), _, (into_start,) = scan_gradient(
            "log_scan_gradient", _shares, finish, operands, (), (), given, False, (dtypes, None), division=division
        )
        return into_decay, into_inputs, into_start, None

    with_gradient.defvjp(forward, backward)
    return log_scan


def _log_odds(past, inputs):
    return (log_odds(past[0], inputs[0]),)


def _shares(rows):
    """The decays of the gradient's scan."""
    return (_where_seen(jax.nn.sigmoid(rows.sequences), rows.marks, 1.0),)


def _where_seen(row, marks, neutral):
    return row if marks.mask is None else jnp.where(marks.mask, row, neutral)
