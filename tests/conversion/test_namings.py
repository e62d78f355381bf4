"""The tables against the names and shapes of the published code, in both directions."""

import ml_dtypes
import numpy as np
import pytest

from keras_griffin.conversion.layouts import SCALE, Layout
from keras_griffin.conversion.namings import (
    DEEPMIND_FLAX,
    DEEPMIND_TORCH,
    HUGGING_FACE,
    MAMBA_AUTHORS,
    MAMBA_HUGGING_FACE,
    ForeignTensor,
)
from keras_griffin.models import GriffinConfig, LanguageModel

pytestmark = pytest.mark.any_backend

NAMINGS = {
    "huggingface": HUGGING_FACE,
    "kernel": DEEPMIND_FLAX,
    "weight": DEEPMIND_TORCH,
    "embeddings": MAMBA_HUGGING_FACE,
    "embedding": MAMBA_AUTHORS,
}


@pytest.fixture(scope="module")
def models():
    griffin = GriffinConfig(260, 32, 5, 4, mlp_width=40, recurrence_width=48, window=5, num_gate_blocks=4)
    options = {"mamba": {"state_size": 5, "expand": 3, "conv_kernel_size": 3, "rank": 3}}
    mamba = GriffinConfig(260, 24, 3, 1, mlp_width=0, block_pattern=("mamba",), mixer_options=options)
    return {False: LanguageModel(griffin), True: LanguageModel(mamba)}


@pytest.fixture
def model(models, kind):
    return models[kind.startswith("embedding")]


def published(checkpoints, kind):
    if kind.startswith("embedding"):
        return checkpoints.mamba_weights(kind)
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
        parts = tuple(part.astype(array.dtype) for part in layout.split(array))
        assert [part.shape for part in parts] == [shapes[path] for path in paths], name
        assert layout.shape(*(part.shape for part in parts)) == array.shape
        assert np.ascontiguousarray(layout.join(*parts)).tobytes() == array.tobytes()


def test_a_scale_is_written_with_every_bit_of_the_scale_minus_one():
    for dtype, values, wide in (
        ("float32", [0.0, 0.5, -0.75], "float32"),
        ("float32", [1e-3], "float64"),
        (ml_dtypes.bfloat16, [0.0, 0.5], ml_dtypes.bfloat16),
        (ml_dtypes.bfloat16, [1e-3], "float32"),
        ("float16", [1e-3], "float32"),
    ):
        ours = np.array(values, dtype)
        theirs = SCALE.join(ours)
        assert theirs.dtype == np.dtype(wide) and SCALE.may_widen
        (back,) = SCALE.split(theirs)
        assert back.astype(dtype).tobytes() == ours.tobytes()
