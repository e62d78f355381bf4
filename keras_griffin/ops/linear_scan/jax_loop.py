"""On JAX: one compiled in-place loop along time, and one such loop backward for the gradients.

XLA updates an array in place if every read of it comes before the write or reads the written version. So each row is
computed from the newest version of the arrays, and a row is never used for two writes; otherwise every step would copy
whole arrays.
"""

from jax import lax
from jax import numpy as jnp

from keras_griffin.ops.linear_scan.components import add, conjugate, multiply
from keras_griffin.ops.linear_scan.jax_gradient import differentiable
from keras_griffin.ops.linear_scan.marks import unless
from keras_griffin.ops.linear_scan.semiring import LINEAR


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


def scan(decay, inputs, initial_state, forgotten, reverse, semiring=LINEAR):
    """Forward only; `scan_gradient` is its derivative, in linear arithmetic."""
    length = decay[0].shape[1]
    at = _order(length, reverse)

    def step(t, states):
        # `states` holds finished states before step t, and still the inputs from there on.
        return _write(
            states,
            at(t),
            lambda now: semiring.plus(entering(t, _row(now, at(t - 1))), _row(now, at(t))),
        )

    def entering(t, state):
        return unless(_mark(forgotten, at(t)), semiring.times(_row(decay, at(t)), state), semiring.zero)

    first = entering(0, _as_row(initial_state))
    states = _write(inputs, at(0), lambda now: semiring.plus(first, _row(now, at(0))))
    states = lax.fori_loop(1, length, step, states)
    return states, _without_time(_row(states, at(length - 1)))


def scan_gradient(decay, states, initial_state, forgotten, gradients, reverse):
    """dx_t = g_t + conj(a_{t+1}) dx_{t+1}, written over g; then all da_t = dx_t conj(h_{t-1}) at once.

    Args:
        decay: as for `scan`, and so are `initial_state`, `forgotten` and `reverse`.
        states: the states that `scan` returned.
        initial_state: see `decay`.
        forgotten: see `decay`.
        gradients: those for the states and for the final state.
        reverse: see `decay`.

    Returns:
        The gradients for decay, inputs and initial state.
    """
    states_gradient, final_gradient = gradients
    length = decay[0].shape[1]
    at = _order(length, reverse)

    def step(i, inputs_gradient):
        t = length - 1 - i
        return _write(
            inputs_gradient,
            at(t),
            lambda now: add(_row(now, at(t)), leaving(t + 1, now)),
        )

    def leaving(t, gradient):
        return unless(_mark(forgotten, at(t)), multiply(conjugate(_row(decay, at(t))), _row(gradient, at(t))))

    last = at(length - 1)
    states_gradient = _write(states_gradient, last, lambda now: add(_row(now, last), _as_row(final_gradient)))
    inputs_gradient = lax.fori_loop(1, length, step, states_gradient)
    into_start = _without_time(leaving(0, inputs_gradient))
    before = unless(forgotten, _before(states, initial_state, reverse))
    return multiply(inputs_gradient, conjugate(before)), inputs_gradient, into_start


def _before(states, initial_state, reverse):
    """h_{t-1} for every t."""
    pairs = zip(states, _as_row(initial_state), strict=True)
    if reverse:
        return tuple(jnp.concatenate([h[:, 1:], start], axis=1) for h, start in pairs)
    return tuple(jnp.concatenate([start, h[:, :-1]], axis=1) for h, start in pairs)


linear_scan = differentiable(scan, scan_gradient)


def _order(length, reverse):
    """The index of the t-th step to be computed."""
    return lambda t: length - 1 - t if reverse else t


def _row(arrays, place):
    return tuple(lax.dynamic_slice_in_dim(array, place, 1, axis=1) for array in arrays)


def _mark(forgotten, place):
    return None if forgotten is None else _row((forgotten,), place)[0]


def _write(arrays, place, compute):
    """Write the row that `compute` derives from the arrays, one component after the other."""
    for index in range(len(arrays)):
        row = compute(arrays)[index]
        written = lax.dynamic_update_slice_in_dim(arrays[index], row, place, axis=1)
        arrays = (*arrays[:index], written, *arrays[index + 1 :])
    return arrays


def _as_row(state):
    return tuple(component[:, None] for component in state)


def _without_time(row):
    return tuple(component[:, 0] for component in row)
