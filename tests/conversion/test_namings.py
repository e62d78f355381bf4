"""The tables against the names and shapes of the published code, in both directions."""

import numpy as np
import pytest

from keras_griffin.conversion.layouts import Layout
from keras_griffin.conversion.namings import DEEPMIND_FLAX, DEEPMIND_TORCH, HUGGING_FACE, ForeignTensor
from keras_griffin.models import Griffin, GriffinConfig

pytestmark = pytest.mark.any_backend

NAMINGS = {"huggingface": HUGGING_FACE, "kernel": DEEPMIND_FLAX, "weight": DEEPMIND_TORCH}


@pytest.fixture(scope="module")
def model():
    config = GriffinConfig(260, 32, 5, 4, mlp_width=40, recurrence_width=48, window=5, num_gate_blocks=4)
    return Griffin(config)


def published(checkpoints, kind):
    weights = checkpoints.huggingface_weights()
    return weights if kind == "huggingface" else checkpoints.deepmind_weights(weights, kind)


@pytest.mark.parametrize("kind", NAMINGS)
def test_names_are_those_that_were_published_and_name_every_variable_once(checkpoints, model, kind):
    tensors = NAMINGS[kind].tensors(model.config.mixer_names)
    assert all(isinstance(tensor, ForeignTensor) and isinstance(tensor.layout, Layout) for tensor in tensors.values())
    assert set(tensors) == set(published(checkpoints, kind))
    named = sorted(path for tensor in tensors.values() for path in tensor.variables)
    assert named == sorted(variable.path for variable in model.weights)


@pytest.mark.parametrize("kind", NAMINGS)
def test_there_and_back_is_the_same_bit_by_bit(checkpoints, model, kind):
    shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
    theirs = published(checkpoints, kind)
    for name, (layout, paths) in NAMINGS[kind].tensors(model.config.mixer_names).items():
        array = theirs[name].copy()
        array.flat[0] = np.nan
        parts = layout.split(array)
        assert [part.shape for part in parts] == [shapes[path] for path in paths], name
        assert layout.shape(*(part.shape for part in parts)) == array.shape
        assert np.ascontiguousarray(layout.join(*parts)).tobytes() == array.tobytes()


def test_the_embedding_has_a_name_of_its_own():
    assert HUGGING_FACE.embedding == "model.embed_tokens.weight"
    assert DEEPMIND_FLAX.embedding == DEEPMIND_TORCH.embedding == "embedder.input_embedding"
