"""What the loaders of all families share."""

import numpy as np
import pytest

from keras_griffin.conversion.foreign import (
    Entries,
    as_variables,
    build_model,
    common_entries,
    find_naming,
    folder_of,
    read_entries,
    require_saveable,
    shape_of,
    without_copy_of_embedding,
)
from keras_griffin.conversion.mamba import MAMBA
from keras_griffin.conversion.namings import HUGGING_FACE, MAMBA_HUGGING_FACE
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.saving.weights import as_array
from keras_griffin.models.weight_shapes import weight_shapes
from tests.conversion.checkpoints import MAMBA_OTHER, config_of, stored, weights_of

pytestmark = pytest.mark.any_backend


def test_every_variable_gets_its_part_of_a_tensor(tmp_path):
    config, weights = MAMBA.read_config(config_of(MAMBA_OTHER)), weights_of(MAMBA_OTHER)
    variables = as_variables("f", stored(weights), MAMBA_HUGGING_FACE, config)
    assert {path: tensor.shape for path, tensor in variables.items()} == weight_shapes(config)
    whole = weights["backbone.layers.1.mixer.in_proj.weight"]
    np.testing.assert_array_equal(variables["block_1/mixer/input_projection/kernel"].read(), whole[:60].T)
    np.testing.assert_array_equal(variables["block_1/mixer/gate/kernel"].read(), whole[60:].T)
    arguments = (Griffin, "f", tmp_path, stored(weights), MAMBA_HUGGING_FACE)
    model = build_model(*arguments, config, None, "name")
    assert (type(model), model.name, model.tokenizer) == (Griffin, "name", None)
    for variable in model.weights:
        np.testing.assert_array_equal(as_array(variable), variables[variable.path].read().astype("float32"))
    # Rows of no token are cut, and the tokenizer is that of the folder.
    few = build_model(*arguments, config.replace(vocabulary_size=40), None, None)
    np.testing.assert_array_equal(
        as_array(few.token_embedding.embeddings), as_array(model.token_embedding.embeddings)[:40]
    )


def test_a_tensor_marks_the_naming_and_tells_sizes(tmp_path):
    tensors = stored({name: np.zeros((3, 2)) for name in "abcd"})
    assert find_naming("f", {"x": None, "b": HUGGING_FACE, "c": None}, tmp_path, tensors) is HUGGING_FACE
    with pytest.raises(ValueError, match=r"must have the tensor x or y\. Got '.*' with 4 tensors: a, b, c, \.\.\.\.$"):
        find_naming("f", {"x": None, "y": None}, tmp_path, tensors)
    assert shape_of("f", tensors, "a", 2) == (3, 2)
    tensors["empty"] = tensors["a"]._replace(shape=(0, 2))
    for name, num_axes, received in (("a", 3, r"\(3, 2\)"), ("x", 2, "None"), ("empty", 2, r"\(0, 2\)")):
        with pytest.raises(
            ValueError, match=rf"^f: the checkpoint must have {name} with {num_axes} axes. Got {received}.$"
        ):
            shape_of("f", tensors, name, num_axes)


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
        read_entries("f", tmp_path)
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert read_entries("f", file) == read_entries("f", tmp_path) == {"a": 1}


def test_entries_are_checked_under_their_names_in_the_file():
    entries = Entries("f", {"flag": None, "kind": "x", "count": 0, "other": 3}, {"kind": "their kind"})
    entries.require(True, "other", "must be 4")
    entries.require_values(flag=False, kind="x", other=3)
    entries.require_counts("other")
    for check, sentence in (
        (lambda: entries.require(False, "other", "must be 4"), "other must be 4. Got 3."),
        (lambda: entries.require_values(flag=True), "flag must be true. Got None."),
        (lambda: entries.require_values(kind="y"), "their kind must be 'y'. Got 'x'."),
        (lambda: entries.require_values(none=1), "none must be 1. Got None."),
        (lambda: entries.require_counts("other", "count"), "count must be an integer of at least 1. Got 0."),
    ):
        with pytest.raises(ValueError) as caught:
            check()
        assert str(caught.value) == f"f: in config.json, {sentence}"


def test_entries_that_are_written():
    config = GriffinConfig(10, 16, 1, 2)
    assert common_entries("A", "a", config, "float32").items() >= {"vocab_size": 10, "hidden_size": 16}.items()
    require_saveable("a family", config, (True, "a rule", 3), norm="rms", logits_soft_cap=None)
    with pytest.raises(ValueError, match=r"^save_huggingface: a rule for a family\. Got 3\.$"):
        require_saveable("a family", config, (True, "another", 4), (False, "a rule", 3))
    with pytest.raises(ValueError, match=r"^save_huggingface: norm must be layer for a family\. Got rms\.$"):
        require_saveable("a family", config, (True, "a rule", 3), logits_soft_cap=None, norm="layer")
