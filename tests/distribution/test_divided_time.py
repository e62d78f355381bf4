import keras
import numpy as np
import pytest

from keras_griffin.distribution import divided_time
from tests.distribution.eight_devices import assert_they_pass

SEQUENCE, HEADS = np.ones((1, 4, 2), "float32"), np.ones((1, 4, 1, 2), "float32")
CALLS = {
    "linear_scan": lambda: divided_time.linear_scan(SEQUENCE, SEQUENCE, axis_name="time"),
    "rg_lru": lambda: divided_time.rg_lru(SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE[0, 0], axis_name="time"),
    "causal_conv": lambda: divided_time.causal_conv(SEQUENCE, SEQUENCE[0], axis_name="time"),
    "local_attention": lambda: divided_time.local_attention(HEADS, HEADS, HEADS, 2, axis_name="time"),
}


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX alone divides time")
@pytest.mark.slow
def test_on_eight_devices():
    assert_they_pass("divided_time")


@pytest.mark.parametrize("name", CALLS)
def test_what_cannot_divide_time_is_refused(name):
    backend = keras.backend.backend()
    sentence = "axis_name must be an axis of the mesh of the enclosing shard_map. Got 'time'."
    if backend != "jax":
        sentence = f"the backend must be jax, whose shard_map divides time over devices. Got {backend}."
    with pytest.raises(ValueError) as error:
        CALLS[name]()
    assert str(error.value) == f"{name}: {sentence}"


def test_the_backend_that_divides_time():
    if keras.backend.backend() == "jax":
        divided_time.require_jax("a function")
    else:
        with pytest.raises(ValueError, match="^a function: the backend must be jax"):
            divided_time.require_jax("a function")
