"""What only one backend has is refused on the others in one sentence."""

import keras
import pytest

from keras_griffin.distribution import data_parallel, fully_shard, layout_map, sequence_parallel, time_along
from keras_griffin.distribution.time_along import require_jax
from tests.distribution.tiny import CONFIG, model

DIVIDES_TIME = "the backend must be jax, whose shard_map divides time over devices."
CALLS = {
    "require_jax": ("jax", lambda: require_jax("require_jax"), DIVIDES_TIME),
    "time_along": ("jax", lambda: time_along("time"), DIVIDES_TIME),
    "sequence_parallel": ("jax", lambda: sequence_parallel(model()), DIVIDES_TIME),
    "layout_map": (
        "jax",
        lambda: layout_map(CONFIG, keras.distribution.DeviceMesh((1, 1), ["batch", "model"], ["cpu:0"])),
        "the backend must be jax, the only one with Keras's distribution.",
    ),
    "data_parallel": (
        "torch",
        lambda: data_parallel(model()),
        "the backend must be torch; on JAX use keras.distribution.DataParallel.",
    ),
    "fully_shard": (
        "torch",
        lambda: fully_shard(model()),
        "the backend must be torch; on JAX use keras_griffin.distribution.layout_map.",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_another_backend_is_refused(name):
    backend, call, sentence = CALLS[name]
    if keras.backend.backend() == backend:
        pytest.skip(f"{backend} has it")
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == f"{name}: {sentence} Got {keras.backend.backend()}."
