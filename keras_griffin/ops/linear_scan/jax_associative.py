"""On JAX: a parallel prefix, log T rounds over whole arrays, for devices with more lanes than a row has channels."""

import functools

import jax
from jax import lax
from jax import numpy as jnp

from keras_griffin.ops.linear_scan.components import Components, add, conjugate, multiply
from keras_griffin.ops.linear_scan.marks import on_effective


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


@on_effective
# Compiled once for each shape, also where it is called outside of any compiled function.
@functools.partial(jax.jit, static_argnums=(3,))
def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    return _differentiable_scan(decay, inputs, initial_state, reverse)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _differentiable_scan(decay, inputs, initial_state, reverse):
    return scan(decay, inputs, initial_state, reverse)


def scan(decay, inputs, initial_state, reverse):
    """`linear_scan`, which JAX can't differentiate at a good price."""
    first, last = (-1, 0) if reverse else (0, -1)
    entering = multiply(_at(decay, first), initial_state)
    inputs = tuple(jnp.asarray(x).at[:, first].add(component) for x, component in zip(inputs, entering, strict=True))
    _, states = lax.associative_scan(_compose, (decay, inputs), reverse=reverse, axis=1)
    return states, _at(states, last)


def _compose(earlier, later):
    """The step h -> a h + x that makes two such steps, one after the other."""
    (first_decay, first_inputs), (decay, inputs) = earlier, later
    return multiply(decay, first_decay), add(multiply(decay, first_inputs), inputs)


def _forward(decay, inputs, initial_state, reverse):
    states, final_state = scan(decay, inputs, initial_state, reverse)
    return (states, final_state), (decay, states, initial_state)


def _backward(reverse, residuals, gradients):
    return scan_gradient(*residuals, gradients, reverse)


def scan_gradient(decay, states, initial_state, gradients, reverse):
    """A scan in the other direction, with each step's decay taken from the step after it; as in `jax_loop`."""
    states_gradient, final_gradient = gradients
    first = -1 if reverse else 0
    ones = conjugate(tuple(jnp.full_like(a[:, :1], 1.0 - index) for index, a in enumerate(decay)))
    next_decay = _shifted(conjugate(decay), ones, not reverse)
    inputs_gradient, _ = scan(next_decay, states_gradient, final_gradient, not reverse)
    previous_states = _shifted(states, tuple(h[:, None] for h in initial_state), reverse)
    decay_gradient = multiply(inputs_gradient, conjugate(previous_states))
    return decay_gradient, inputs_gradient, multiply(conjugate(_at(decay, first)), _at(inputs_gradient, first))


_differentiable_scan.defvjp(_forward, _backward)


def _at(arrays, place):
    return tuple(array[:, place] for array in arrays)


def _shifted(arrays, entering, to_earlier):
    """Every row one place later, or earlier, with another one entering at the end that is left open."""
    if to_earlier:
        return tuple(jnp.concatenate([x[:, 1:], row], axis=1) for x, row in zip(arrays, entering, strict=True))
    return tuple(jnp.concatenate([row, x[:, :-1]], axis=1) for x, row in zip(arrays, entering, strict=True))
