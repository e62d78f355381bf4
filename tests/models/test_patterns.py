"""Models of any pattern, without MLP, with layer normalisation, and with tables of their own."""

import json

import numpy as np
import pytest

from keras_griffin.layers import RMSNorm
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.models.weight_shapes import weight_shapes
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from tests.models.tiny import strong

PLAIN = GriffinConfig(11, 8, 2, 2, block_pattern=("lru", "min_gru"))
OTHER = PLAIN.replace(mlp_width=0, norm="layer", embedding_norm=True, tie_embeddings=False)
TOKEN_IDS = np.arange(10)[None] % 11


@pytest.fixture(scope="module")
def model():
    return strong(LanguageModel(OTHER))


def layer_norm(layer, x):
    gamma, beta = (as_array(weight) for weight in layer.weights)
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + OTHER.norm_epsilon) * gamma + beta


@pytest.mark.any_backend
def test_the_equations(model):
    """x_0 = norm(E[token]), x_l = x_{l-1} + mixer(norm(x_{l-1})), logits = norm(x_L) U."""
    embedding = model.token_embedding
    x = layer_norm(embedding.norm, as_array(embedding.embeddings)[TOKEN_IDS])
    for block in model.blocks:
        assert block.mlp is None
        x = x + as_array(block.mixer(layer_norm(block.mixer_norm, x).astype("float32")))
    expected = layer_norm(model.final_norm, x) @ as_array(embedding.reverse_embeddings)
    assert_close(model(TOKEN_IDS), expected)


@pytest.mark.any_backend
def test_what_the_config_says_of_it(model):
    assert model.count_params() == OTHER.parameter_count()
    assert OTHER.parameter_count() - OTHER.parameter_count(embedding=False) == 2 * 11 * 8
    assert weight_shapes(OTHER) == {weight.path: tuple(weight.shape) for weight in model.weights}
    assert GriffinConfig(**json.loads(json.dumps(OTHER.to_dict()))) == OTHER
    assert not {"norm", "embedding_norm", "tie_embeddings", "mixer_options"} & set(PLAIN.to_dict())
    assert isinstance(LanguageModel(PLAIN).final_norm, RMSNorm)


@pytest.mark.any_backend
def test_blocks_that_share_their_weights():
    """Each has its own state, and the model is that of as many equal blocks."""
    options = {"all": {"mixer": "local_mqa", "window": 3, "share": True}}
    shared = PLAIN.replace(num_layers=4, block_pattern=("lru", "all"), mixer_options=options)
    model, apart = (
        LanguageModel(shared),
        LanguageModel(shared.replace(mixer_options={"all": {**options["all"], "share": False}})),
    )
    assert model.blocks[1] is model.blocks[3] and model.blocks[0] is not model.blocks[2]
    assert model.count_params() == shared.parameter_count() < apart.count_params()
    assert weight_shapes(shared) == {weight.path: tuple(weight.shape) for weight in model.weights}
    values = {weight.path: as_array(weight) for weight in model.weights}
    for weight in apart.weights:
        weight.assign(values[weight.path.replace("block_3", "block_1")])
    logits, advance = as_array(compiled(model)(TOKEN_IDS)), compiled(model.advance)
    assert_close(logits, as_array(compiled(apart)(TOKEN_IDS)))
    _, state = advance(TOKEN_IDS[:, :5], model.initial_state(1))
    assert_close(advance(TOKEN_IDS[:, 5:], state)[0], logits[:, 5:])
    with pytest.raises(ValueError, match=r"^GriffinConfig: share of all must be True or False\. Got 2\.$"):
        shared.replace(mixer_options={"all": {"mixer": "local_mqa", "window": 3, "share": 2}})
