import keras
import pytest

from tests.distribution.eight_devices import assert_they_pass

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras's distribution is JAX's alone")


def test_on_eight_devices():
    assert_they_pass("resuming")
