"""What the loaders of all families share."""

import numpy as np
import pytest

from keras_griffin.conversion.foreign import (
    as_variables,
    build_model,
    folder_of,
    read_config_beside,
    refuse_config,
    refuse_tensors,
    without_copy_of_embedding,
)
from keras_griffin.conversion.mamba_config import read_mamba_config
from keras_griffin.conversion.namings import HUGGING_FACE, MAMBA_HUGGING_FACE
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.models import Griffin
from keras_griffin.models.saving.weights import as_array
from keras_griffin.models.weight_shapes import weight_shapes

pytestmark = pytest.mark.any_backend


def stored(arrays):
    return {name: StoredTensor(array.shape, array.dtype, lambda array=array: array) for name, array in arrays.items()}


def test_every_variable_gets_its_part_of_a_tensor(tmp_path, checkpoints):
    config = read_mamba_config(checkpoints.mamba_config)
    weights = checkpoints.mamba_weights()
    variables = as_variables("f", stored(weights), MAMBA_HUGGING_FACE, config)
    assert {path: tensor.shape for path, tensor in variables.items()} == weight_shapes(config)
    whole = weights["backbone.layers.1.mixer.in_proj.weight"]
    np.testing.assert_array_equal(variables["block_1/mixer/input_projection/kernel"].read(), whole[:72].T)
    np.testing.assert_array_equal(variables["block_1/mixer/gate/kernel"].read(), whole[72:].T)
    model = build_model(Griffin, "f", tmp_path, stored(weights), MAMBA_HUGGING_FACE, config, None, "name")
    assert (type(model), model.name, model.tokenizer) == (Griffin, "name", None)
    for variable in model.weights:
        np.testing.assert_array_equal(as_array(variable), variables[variable.path].read().astype("float32"))


def test_the_head_is_a_copy_of_the_embedding():
    name, table = HUGGING_FACE.embedding, np.arange(6.0).reshape(3, 2)
    for head in ({}, {"lm_head.weight": table.copy()}):
        assert set(without_copy_of_embedding("f", stored({name: table, **head}), HUGGING_FACE)) == {name}
    for head in (table + 1, table[:2]):
        with pytest.raises(ValueError, match=rf"^f: lm_head\.weight must equal {name}\. Got different values\.$"):
            without_copy_of_embedding("f", stored({name: table, "lm_head.weight": head}), HUGGING_FACE)


def test_the_config_is_in_the_folder_or_beside_the_file(tmp_path):
    file = tmp_path / "a.safetensors"
    file.write_text("")
    assert folder_of(file) == folder_of(tmp_path) == tmp_path
    with pytest.raises(ValueError, match=r"^f: the folder must have a config\.json\. Got '.*' without one\.$"):
        read_config_beside("f", tmp_path)
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert read_config_beside("f", file) == read_config_beside("f", tmp_path) == {"a": 1}


def test_refusals_are_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"^f: in config\.json, a must be b\. Got 'c'\.$"):
        refuse_config("f", "a must be b", "c")
    tensors = stored({name: np.zeros(1) for name in "abcd"})
    with pytest.raises(ValueError, match=r"must have the tensor x or y\. Got '.*' with 4 tensors: a, b, c, \.\.\.\.$"):
        refuse_tensors("f", ("x", "y"), tmp_path, tensors)
