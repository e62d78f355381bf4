"""What only JAX asks of its implementation: its transformations, and loops that copy nothing."""

import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("JAX's own transformations", allow_module_level=True)

import jax
from jax import numpy as jnp

from keras_griffin.ops import log_scan
from keras_griffin.ops.log_scan import jax_loop
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 20, 8
GENERATOR = np.random.default_rng(0)
DECAY, INPUTS, WEIGHT = (GENERATOR.normal(size=(B, T, D)).astype("float32") for _ in range(3))


def loss(decay, inputs):
    states, final_state = log_scan(decay, inputs)
    return jnp.sum(states * WEIGHT[0]) + jnp.sum(jnp.square(final_state))


def test_vmap_is_a_loop_over_calls_and_checkpoint_changes_nothing():
    gradient = jax.jit(jax.grad(loss, (0, 1)))
    stacked = [np.stack([x, 0.5 * x, -x]) for x in (DECAY, INPUTS)]
    together = jax.jit(jax.vmap(jax.grad(jax.checkpoint(loss), (0, 1))))(*stacked)
    apart = [gradient(*pair) for pair in zip(*stacked, strict=True)]
    for got, *wanted in zip(together, *apart, strict=True):
        assert_close(got, np.stack(wanted))


def test_a_gradient_is_differentiable_forward():
    """As for Hessian-vector products."""

    @jax.jit
    def slope(epsilon):
        return jax.grad(loss)(DECAY + epsilon * WEIGHT, INPUTS)

    _, product = jax.jvp(slope, (0.0,), (1.0,))
    difference = (slope(0.5e-2) - slope(-0.5e-2)) / 1e-2
    # A difference of float32 numbers has about half of their digits.
    assert_close(product, np.asarray(difference), factor=300)


def test_no_step_of_a_loop_copies_an_array():
    """A copy in each of T steps would cost T squared."""

    def gradient(decay, inputs, start, weight, reset):
        results, pull_back = jax.vjp(lambda *x: jax_loop.log_scan(*x, Marks(reset, None)), decay, inputs, start)
        return pull_back((weight, results[1]))

    arguments = DECAY, INPUTS, DECAY[:, 0], WEIGHT, np.zeros((B, T, 1), bool)
    text = jax.jit(gradient).lower(*arguments).compile().as_text()
    loops = text[: text.index("\nENTRY")]
    assert "dynamic-update-slice" in loops
    assert not re.search(rf"= f32\[{B},{T},{D}\]\S* copy", loops)
