"""What each token attends to, against what attention gives."""

import functools

import numpy as np
import pytest
from keras import ops

from keras_griffin.inspection import attention_map
from keras_griffin.mixers import GlobalMQA, LocalMQA, SparseMQA
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

CONFIG = GriffinConfig(
    vocabulary_size=256,
    width=16,
    num_layers=2,
    num_heads=2,
    window=4,
    num_gate_blocks=2,
    block_pattern=("recurrent", "local_mqa"),
)
TOKENS = np.random.default_rng(0).integers(256, size=12)


@functools.cache
def model():
    return Griffin(CONFIG)


@pytest.mark.parametrize(
    "make", [lambda: LocalMQA(4, 3, num_key_value_heads=2), lambda: GlobalMQA(4), lambda: SparseMQA(4, 3, "fixed", 1)]
)
def test_the_weights_times_the_values_are_what_attention_gives(make):
    mixer = make()
    inputs = np.random.default_rng(0).normal(size=(2, 9, 16)).astype("float32")
    expected = as_array(mixer(inputs))
    weights = mixer.attention_of(inputs)
    _, _, values = mixer.project(ops.convert_to_tensor(inputs))
    values = ops.repeat(values, mixer.num_heads // mixer.num_key_value_heads, axis=2)
    assert_close(as_array(mixer.join(ops.einsum("bnts,bsnh->btnh", weights, values))), expected)


def test_a_map_is_of_the_window():
    weights = attention_map(model(), TOKENS)
    assert weights.shape == (2, 12, 12)
    assert_close(weights.sum(axis=-1), np.ones((2, 12)), "float32")
    distance = np.arange(12)[:, None] - np.arange(12)
    np.testing.assert_array_equal(weights > 0, np.broadcast_to((distance >= 0) & (distance < 4), weights.shape))
    np.testing.assert_array_equal(attention_map(model(), TOKENS[None], block=1), weights)


@pytest.mark.any_backend
def test_what_is_refused():
    with pytest.raises(ValueError, match=r"^attention_map: block must be one of \[1\], whose mixers are .* Got 0\.$"):
        attention_map(model(), TOKENS, block=0)
    with pytest.raises(ValueError, match=r"^attention_map: a text must have at most 4096 tokens\. Got 4097\.$"):
        attention_map(model(), np.zeros(4097, "int32"))
    with pytest.raises(ValueError, match=r"^attention_map: there must be one text .* Got 1 rows\.$"):
        attention_map(model(), [])
