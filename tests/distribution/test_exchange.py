import keras
import pytest

from tests.distribution.eight_devices import assert_they_pass


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX alone divides time")
def test_on_eight_devices():
    assert_they_pass("exchange")
