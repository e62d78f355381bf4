"""The formulas of decoding: by hand, beside real states and variables, and at the paper's sizes."""

import keras
import numpy as np
import pytest

from keras_griffin.generation.capacity import grows
from keras_griffin.inspection import Device, cache_bytes, decode_cost
from keras_griffin.mixers import MIXERS
from keras_griffin.models import GriffinConfig, LanguageModel, presets
from keras_griffin.testing.compiled import compiled

pytestmark = pytest.mark.any_backend

SMALL = GriffinConfig(
    vocabulary_size=11,
    width=8,
    num_layers=4,
    num_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    window=5,
    recurrence_width=12,
    num_gate_blocks=2,
    conv_kernel_size=3,
    block_pattern=("recurrent", "local_mqa", "global_mqa"),
)
#: 100 bytes a second are easy to divide by.
SLOW = Device("slow", memory_bytes=1e4, bytes_per_second=100.0)


def only(mixer_name, **changes):
    return SMALL.replace(block_pattern=(mixer_name,), num_layers=1, **changes)


def test_caches_by_hand():
    # R = 12, two steps of the convolution; K H = 8, keys and values.
    assert [cache_bytes(only("recurrent"), length) for length in (0, 1, 9)] == [12 * 4 + 2 * 12 * 2] * 3
    assert [cache_bytes(only("local_mqa"), length) for length in (0, 1, 5, 9)] == [0, 2 * 8 * 2, 160, 160]
    assert [cache_bytes(only("global_mqa"), length) for length in (0, 1, 5, 9)] == [0, 32, 160, 288]
    assert cache_bytes(SMALL, 9) == 2 * 96 + 160 + 288  # the pattern begins anew in the fourth layer


def test_the_recurrent_state_is_float32_in_every_dtype():
    assert [cache_bytes(only("recurrent"), 1, dtype) for dtype in ("bfloat16", "float16", "float32")] == [96, 96, 144]


def held_bytes(state):
    """All but the marks, which say what the places hold."""
    leaves = [(keras.backend.standardize_dtype(leaf.dtype), leaf.shape) for leaf in keras.tree.flatten(state)]
    return sum(
        int(np.prod(shape)) * {"float32": 4, "bfloat16": 2}[dtype] for dtype, shape in leaves if "float" in dtype
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mixer_name", [*MIXERS, "qrnn", "lru"])
def test_caches_are_what_a_state_holds(mixer_name, dtype):
    config = only(mixer_name)
    mixer = config.mixer_class(mixer_name)(**config.mixer_arguments(mixer_name), dtype=dtype)
    mixer.build((None, None, config.width))
    state = mixer.initial_state(3)
    if grows(state):
        assert held_bytes(state) == 3 * cache_bytes(config, 0, dtype) == 0
        _, state = compiled(mixer.advance)(np.ones((3, 7, config.width), "float32"), state)
        assert held_bytes(state) == 3 * cache_bytes(config, 7, dtype)
    else:
        assert held_bytes(state) == 3 * cache_bytes(config, config.window, dtype) == 3 * cache_bytes(config, 999, dtype)


def test_parameters_are_those_of_a_model():
    model = LanguageModel(SMALL, dtype="bfloat16")
    num_bytes = sum(int(np.prod(variable.shape)) * 2 for variable in model.variables)
    assert {keras.backend.standardize_dtype(variable.dtype) for variable in model.variables} == {"bfloat16"}
    assert decode_cost(SMALL, 1, 1).parameter_bytes == num_bytes


def test_equation_5_by_hand():
    config = only("global_mqa")
    parameters = 2 * config.parameter_count()
    cost = decode_cost(config, 3, 10, device=SLOW)
    assert (cost.parameter_bytes, cost.cache_bytes) == (parameters, 320)
    assert cost.seconds_per_step == pytest.approx((parameters + 3 * 320) / 100)
    assert cost.tokens_per_second == pytest.approx(300 / (parameters + 3 * 320))
    assert cost.largest_batch == (10_000 - parameters) // 320
    assert (cost.device, cost.batch_size, cost.context_length, cost.memory_bound_batch) == (SLOW, 3, 10, 128)


def test_the_largest_batch_fits_and_one_row_more_does_not():
    config = only("global_mqa")
    largest = decode_cost(config, 1, 10, device=SLOW).largest_batch
    assert 1 < largest < 128
    assert decode_cost(config, largest, 10, device=SLOW).fits
    assert not decode_cost(config, largest + 1, 10, device=SLOW).fits
    too_small = Device("small", 100, 100)
    assert decode_cost(config, 1, 10, device=too_small).largest_batch == 0
    assert not decode_cost(config, 1, 10, device=too_small).fits


def test_a_batch_beyond_the_model_s_range_is_warned_of():
    decode_cost(SMALL, 128, 1, device=SLOW)
    with pytest.warns(UserWarning, match=r"^decode_cost: batch_size should be at most 128 on slow: .* Got 129\.$"):
        decode_cost(SMALL, 129, 1, device=SLOW)


def test_appendix_f_at_the_paper_s_sizes():
    sizes = presets()
    # 24 layers, one head of 128 channels: 6144 numbers of 2 bytes a token, as many as parameters at B T = 182,000.
    transformer = sizes["mqa_1.3b"]
    assert cache_bytes(transformer, 1000) == 1000 * 6144 * 2
    assert round(transformer.parameter_count(embedding=False) / 6144, -3) == 182_000
    # Hawk keeps about 4 N D / 3 numbers of recurrent state, and three times as many of the convolution.
    for size in ("100m", "400m", "3b"):
        hawk = sizes[f"hawk_{size}"]
        recurrent = 4 * hawk.num_layers * hawk.width / 3
        assert cache_bytes(hawk, 1) == pytest.approx(recurrent * (4 + 3 * 2))
    # Griffin's does not grow beyond its window; the transformer's passes it, and goes on.
    griffin = [cache_bytes(sizes["griffin_1.3b"], length) for length in (1024, 2048, 10**6)]
    assert griffin[0] == griffin[1] == griffin[2] == 16 * 2560 * 10 + 8 * 2 * 1024 * 128 * 2
    assert cache_bytes(transformer, 256) < griffin[0] < cache_bytes(transformer, 1024)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (decode_cost, {"config": "griffin_7b"}, r"config must be a GriffinConfig\. Got 'griffin_7b'\."),
        (decode_cost, {"batch_size": 0}, r"batch_size must be an integer of at least 1\. Got 0\."),
        (decode_cost, {"context_length": 0}, r"context_length must be an integer of at least 1\. Got 0\."),
        (decode_cost, {"dtype": "int8"}, r"dtype must be one of bfloat16, float16, float32\. Got 'int8'.*"),
        (decode_cost, {"device": "tpu"}, r"device must be a Device or one of .* Got 'tpu'; did you mean 'tpu_v3'\?"),
        (cache_bytes, {"config": None}, r"config must be a GriffinConfig\. Got None\."),
        (cache_bytes, {"context_length": -1}, r"context_length must be an integer of at least 0\. Got -1\."),
        (cache_bytes, {"dtype": "float8"}, r"dtype must be one of bfloat16, float16, float32\. Got 'float8'.*"),
    ],
)
def test_wrong_arguments_are_named(function, arguments, message):
    batch = {"batch_size": 1} if function is decode_cost else {}
    with pytest.raises(ValueError, match=f"^{function.__name__}: {message}$"):
        function(**{"config": SMALL, "context_length": 1, **batch, **arguments})
