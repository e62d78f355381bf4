import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.training.numerics.layer_walk import language_model_layers, walk_layers

CONFIG = GriffinConfig(
    vocabulary_size=16, width=16, num_layers=2, num_heads=2, window=4, block_pattern=("recurrent", "local_mqa")
)
TOKENS = np.random.default_rng(0).integers(16, size=(2, 6), dtype="int32")
SEGMENTS = np.array([[1, 1, 2, 2, 2, 0], [0, 0, 1, 1, 0, 0]], "int32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_layer_is_passed_in_the_order_of_the_computation(dtype):
    walk = walk_layers(Griffin(CONFIG, dtype=dtype), TOKENS)
    layers = list(dict.fromkeys(passage.layer for passage in walk.passages))
    # A layer before the one that it is part of, and the embedding first.
    assert layers[0] == "token_embedding"
    first = [f"block_0/{name}" for name in ("mixer_norm", "mixer/conv", "mixer/rg_lru", "mixer", "mlp/up", "mlp")]
    order = [*first, "block_0", "block_1/mixer_norm", "block_1/mixer/query", "block_1/mixer", "block_1", "final_norm"]
    assert [layer for layer in layers if layer in order] == order
    assert walk.first_nonfinite is None
    assert all(passage.largest_input > 0 for passage in walk.passages[1:])


VIEWS = {
    "model": lambda model: model,
    "packed": lambda model: model.packed(),
    "packed without logits": lambda model: model.packed(logits=False),
    "carried": lambda model: model.carried(2),
    "rematerialized": lambda model: Griffin(CONFIG, rematerialize=True),
}


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_of_a_model_is_walked(view):
    model = Griffin(CONFIG)
    viewed = VIEWS[view](model)
    walk = walk_layers(viewed, TOKENS, None if view in ("model", "rematerialized") else SEGMENTS)
    assert "block_1/mlp/down" in {passage.layer for passage in walk.passages}
    assert [report.layer for report in walk.decays] == ["block_0/mixer/rg_lru"]
    _, blocks, _ = language_model_layers(viewed)
    assert all(block.rematerialize == (view == "rematerialized") for block in blocks)


@pytest.mark.parametrize(
    "layer",
    ["token_embedding", "block_1/mlp/up", "block_0/mixer/rg_lru/input_gate", "block_1/mixer/value", "final_norm"],
)
def test_the_first_layer_that_gives_what_is_not_finite_is_named(layer):
    model = Griffin(CONFIG)
    variable = next(each for each in model.variables if each.path.startswith(layer) and "bias" not in each.path)
    values = np.array(variable.numpy() if hasattr(variable, "numpy") else variable)
    values[..., :] = np.inf
    variable.assign(values)
    first = walk_layers(model, TOKENS).first_nonfinite
    assert first.layer.startswith(layer)
    assert np.isfinite(first.largest_input)
    assert first.nonfinite > 0


def test_a_walk_leaves_no_trace():
    model = Griffin(CONFIG)
    before = [dict(vars(layer)).keys() for layer in (*model.layers, model.blocks[0].mixer.rg_lru)]
    walk_layers(model, TOKENS)
    assert [vars(layer).keys() for layer in (*model.layers, model.blocks[0].mixer.rg_lru)] == before
    outputs = np.asarray(keras.ops.convert_to_numpy(model(TOKENS)))
    assert np.isfinite(outputs).all()


def test_another_model_is_refused():
    with pytest.raises(ValueError, match="walk_layers: the model must have an embedding.*Got Dense."):
        walk_layers(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), TOKENS)
