
import keras
import numpy as np
import pytest

from keras_griffin.conversion import load_recurrentgemma
from keras_griffin.models import Griffin

TOKEN_IDS = np.random.default_rng(1).integers(1, 37, 19)


def logits(model, token_ids=TOKEN_IDS):
    return keras.ops.convert_to_numpy(model(token_ids[None]))[0]


def assert_loads(path, expected, **overrides):
    model = load_recurrentgemma(path, **overrides)
    assert type(model) is Griffin
    # Rounding in float32 through five layers.
    np.testing.assert_allclose(logits(model), expected, atol=2e-5)


@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_folder_of_hugging_face(tmp_path, checkpoints, num_shards):
    weights = checkpoints.huggingface_weights()
    folder = checkpoints.write_huggingface(tmp_path / "folder", weights, num_shards=num_shards)
    assert_loads(folder, checkpoints.expected_logits(weights, TOKEN_IDS))


def test_as_many_key_heads_as_heads_where_the_config_is_silent(tmp_path, checkpoints):
    config = {name: value for name, value in checkpoints.config.items() if name != "num_key_value_heads"}
    weights = checkpoints.huggingface_weights(kv=4)
    folder = checkpoints.write_huggingface(tmp_path / "folder", weights, config)
    assert_loads(folder, checkpoints.expected_logits(weights, TOKEN_IDS))
