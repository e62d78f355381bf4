import numpy as np
import pytest

from keras_griffin.layers.multi_query_attention import MultiQueryAttention, document_numbers
from keras_griffin.models import GriffinConfig
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

INPUTS = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("float32")


def test_few_key_heads_serve_many_query_heads():
    layer = MultiQueryAttention(6, num_key_value_heads=2, rotary_fraction=0.0)
    layer.build((None, None, 12))
    query, key, value = layer.project(INPUTS)
    assert (query.shape[2:], key.shape[2:], value.shape[2:]) == ((6, 2), (2, 2), (2, 2))
    assert_close(query, (INPUTS @ as_array(layer.query.kernel)).reshape(2, 5, 6, 2))
    joined = as_array(query).reshape(2, 5, 12) @ as_array(layer.output_projection.kernel)
    assert_close(layer.join(query), joined)


def test_only_the_output_projection_has_a_bias():
    layer = MultiQueryAttention(3)
    layer.build((None, None, 12))
    assert [weight.path.split("/")[-2] for weight in layer.weights if "bias" in weight.path] == ["output_projection"]


def test_rotation_moves_the_first_channels_alone_and_keeps_their_length():
    layer = MultiQueryAttention(3, rotary_fraction=0.5)
    layer.build((None, None, 12))
    heads = np.random.default_rng(1).normal(size=(2, 5, 3, 4)).astype("float32")
    rotated, same = map(as_array, layer.rotate(np.arange(5, dtype="int32"), heads, heads))
    assert_close(same, rotated)
    assert_close(rotated[..., 2:], heads[..., 2:])
    assert_close(np.square(rotated).sum(-1), np.square(heads).sum(-1))
    assert_close(rotated[:, 0], heads[:, 0])
    assert np.abs(rotated[:, 1:, :, :2] - heads[:, 1:, :, :2]).max() > 0.1


@pytest.mark.parametrize("num_key_value_heads", [1, 2])
def test_the_parameter_count_is_that_of_the_layer_for_a_model(num_key_value_heads):
    config = GriffinConfig(10, 12, 3, 2, head_dim=8, num_key_value_heads=num_key_value_heads)
    arguments = MultiQueryAttention.arguments_for_model(config)
    layer = MultiQueryAttention(**arguments)
    layer.build((None, None, 12))
    assert layer.count_params() == MultiQueryAttention.parameter_count(12, **arguments)


def test_a_document_starts_at_each_reset_that_is_not_masked():
    reset = np.array([[False, True, False, True, True]])
    mask = np.array([[True, True, True, False, True]])
    np.testing.assert_array_equal(as_array(document_numbers(reset, None)), [[0, 1, 1, 2, 3]])
    np.testing.assert_array_equal(as_array(document_numbers(reset, mask)), [[0, 1, 1, 1, 2]])
