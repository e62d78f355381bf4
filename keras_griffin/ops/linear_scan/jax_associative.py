"""On JAX: a parallel prefix scan, log T rounds over whole arrays, for devices with more lanes than channels."""

from jax import lax
from jax import numpy as jnp

from keras_griffin.ops.linear_scan.components import add, conjugate, multiply
from keras_griffin.ops.linear_scan.jax_gradient import differentiable
from keras_griffin.ops.linear_scan.marks import unless


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


def scan(decay, inputs, initial_state, forgotten, reverse):
    """Forward only; `scan_gradient` is its derivative."""
    first, last = (-1, 0) if reverse else (0, -1)
    entering = unless(_mark(forgotten, first), multiply(_at(decay, first), initial_state))
    inputs = tuple(jnp.asarray(x).at[:, first].add(component) for x, component in zip(inputs, entering, strict=True))
    *_, states = lax.associative_scan(_compose, (forgotten, decay, inputs), reverse=reverse, axis=1)
    return states, _at(states, last)


def _compose(earlier, later):
    """The composition of two steps h -> a h + x (or h -> x where the step forgets): again one such step."""
    (first_forgets, first_decay, first_inputs), (forgets, decay, inputs) = earlier, later
    inputs = add(unless(forgets, multiply(decay, first_inputs)), inputs)
    either = None if forgets is None else jnp.logical_or(first_forgets, forgets)
    return either, multiply(decay, first_decay), inputs


def scan_gradient(decay, states, initial_state, forgotten, gradients, reverse):
    """A scan in the other direction, where each step uses the decay of the step after it; as in `jax_loop`."""
    states_gradient, final_gradient = gradients
    first = -1 if reverse else 0
    ones = conjugate(tuple(jnp.full_like(a[:, :1], 1.0 - index) for index, a in enumerate(decay)))
    next_decay = _shifted(conjugate(decay), ones, not reverse)
    next_forgets = None
    if forgotten is not None:
        (next_forgets,) = _shifted((forgotten,), (jnp.zeros_like(forgotten[:, :1]),), not reverse)
    inputs_gradient, _ = scan(next_decay, states_gradient, final_gradient, next_forgets, not reverse)
    previous_states = unless(forgotten, _shifted(states, tuple(h[:, None] for h in initial_state), reverse))
    decay_gradient = multiply(inputs_gradient, conjugate(previous_states))
    into_start = multiply(conjugate(_at(decay, first)), _at(inputs_gradient, first))
    return decay_gradient, inputs_gradient, unless(_mark(forgotten, first), into_start)


linear_scan = differentiable(scan, scan_gradient)


def _at(arrays, place):
    return tuple(array[:, place] for array in arrays)


def _mark(forgotten, place):
    return None if forgotten is None else forgotten[:, place]


def _shifted(arrays, entering, to_earlier):
    """Every row moved one place later, or earlier, with `entering` at the end that becomes free."""
    if to_earlier:
        return tuple(jnp.concatenate([x[:, 1:], row], axis=1) for x, row in zip(arrays, entering, strict=True))
    return tuple(jnp.concatenate([row, x[:, :-1]], axis=1) for x, row in zip(arrays, entering, strict=True))
