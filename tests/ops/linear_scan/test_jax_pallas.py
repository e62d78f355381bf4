"""What kernels for TPUs and GPUs share. What is computed with it is judged in `test_rows.py`."""

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a part of JAX's kernels", allow_module_level=True)

import numpy as np
from jax import numpy as jnp

from keras_griffin.ops.implementation import Facts
from keras_griffin.ops.linear_scan.jax_pallas import supports_on, varying_with


@pytest.mark.parametrize(("device", "name"), [("tpu", "a TPU"), ("gpu", "a GPU")])
def test_what_they_serve(device, name):
    supports = supports_on(device)
    for there in ("cpu", "gpu", "tpu"):
        reason = supports(Facts("jax", there, (1, 7, 5), "bfloat16"))
        assert reason == (None if there == device else f"needs {name}")
    assert supports(Facts("jax", device, (1, 7, 5), "float64")) == "computes in float32"


def test_what_varies_with_a_sequence_keeps_its_values():
    # Also beside numbers that are not finite.
    sequence = jnp.full((2, 3, 4), jnp.nan)
    states, channels = jnp.arange(8.0).reshape(2, 4), jnp.arange(4.0)
    (state,), (channel, nothing) = varying_with(sequence, (states,), (channels, None))
    np.testing.assert_array_equal(state, states)
    np.testing.assert_array_equal(channel, channels)
    assert nothing is None
