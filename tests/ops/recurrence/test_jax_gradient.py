import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("JAX's", allow_module_level=True)

import jax
from jax import numpy as jnp

from keras_griffin.ops.recurrence.jax_gradient import differentiable
from keras_griffin.ops.recurrence.marks import Marks


def test_the_gradient_is_the_one_that_is_given():
    """A scan that adds up all, and a gradient of threes, fours and fives, which nobody would find by himself."""

    def scan(decay, inputs, initial_state, forgotten, reverse):
        states = tuple(jnp.cumsum(x, axis=1) for x in inputs)
        return states, tuple(x[:, -1] for x in states)

    def scan_gradient(decay, states, initial_state, forgotten, gradients, reverse):
        likes = (decay, states, initial_state)
        return tuple(tuple(jnp.full_like(x, 3.0 + n) for x in like) for n, like in enumerate(likes))

    linear_scan = differentiable(scan, scan_gradient)
    x, h = jnp.ones((1, 4, 2)), jnp.zeros((1, 2))

    def total(decay, inputs, initial_state):
        return linear_scan((decay,), (inputs,), (initial_state,), Marks(None, None), False)[0][0].sum()

    value, gradients = jax.value_and_grad(total, argnums=(0, 1, 2))(x, x, h)
    assert value == 20.0
    for number, gradient in enumerate(gradients):
        np.testing.assert_array_equal(gradient, 3.0 + number)
