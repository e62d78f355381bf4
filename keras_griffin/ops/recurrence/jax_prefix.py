"""On JAX: a parallel prefix scan, log T rounds over whole arrays, for devices with more lanes than channels."""

import functools

from jax import lax
from jax import numpy as jnp

from keras_griffin.ops.recurrence.gradient import gradient_by_scan
from keras_griffin.ops.recurrence.marks import zero_where
from keras_griffin.ops.recurrence.numbers import add, multiply


def scan(decay, inputs, initial_state, forgotten, reverse):
    """Forward only."""
    first, last = (-1, 0) if reverse else (0, -1)
    entering = zero_where(_mark(forgotten, first), multiply(_at(decay, first), initial_state))
    inputs = tuple(jnp.asarray(x).at[:, first].add(component) for x, component in zip(inputs, entering, strict=True))
    *_, states = lax.associative_scan(_compose, (forgotten, decay, inputs), reverse=reverse, axis=1)
    return states, _at(states, last)


def _compose(earlier, later):
    """The composition of two steps h -> a h + x (or h -> x where the step forgets): again one such step."""
    (first_forgets, first_decay, first_inputs), (forgets, decay, inputs) = earlier, later
    inputs = add(zero_where(forgets, multiply(decay, first_inputs)), inputs)
    either = None if forgets is None else jnp.logical_or(first_forgets, forgets)
    return either, multiply(decay, first_decay), inputs


#: The derivative of `scan`.
scan_gradient = functools.partial(gradient_by_scan, scan)


def _at(arrays, place):
    return tuple(array[:, place] for array in arrays)


def _mark(forgotten, place):
    return None if forgotten is None else forgotten[:, place]
