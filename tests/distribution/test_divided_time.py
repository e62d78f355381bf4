import keras
import numpy as np
import pytest

from keras_griffin import ops
from keras_griffin.distribution import time_along
from keras_griffin.distribution.time_along import require_jax
from tests.distribution.eight_devices import assert_they_pass

SEQUENCE, HEADS = np.ones((1, 4, 2), "float32"), np.ones((1, 4, 1, 2), "float32")
CALLS = {
    "linear_scan": lambda: ops.linear_scan(SEQUENCE, SEQUENCE),
    "rg_lru": lambda: ops.rg_lru(SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE[0, 0]),
    "causal_conv": lambda: ops.causal_conv(SEQUENCE, SEQUENCE[0]),
    "local_attention": lambda: ops.local_attention(HEADS, HEADS, HEADS, 2),
}
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX alone divides time")


@on_jax
@pytest.mark.slow
def test_on_eight_devices():
    assert_they_pass("divided_time")


@on_jax
@pytest.mark.parametrize("name", CALLS)
def test_an_axis_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError) as error, time_along("time"):
        CALLS[name]()
    assert str(error.value) == f"{name}: axis_name must be an axis of the mesh of the enclosing shard_map. Got 'time'."


def test_a_backend_that_does_not_divide_time_is_refused():
    if keras.backend.backend() == "jax":
        return require_jax("time_along")
    with pytest.raises(ValueError, match=r"^time_along: the backend must be jax, whose shard_map .* Got \w+\.$"):
        time_along("time")
