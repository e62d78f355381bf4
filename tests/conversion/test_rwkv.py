"""RWKV-4 there and back; that both say the same is judged by `make parity`."""

import json

import keras
import numpy as np
import pytest

from keras_griffin.conversion import load_rwkv, save_huggingface
from keras_griffin.conversion.rwkv import is_rwkv, load_rwkv_as
from keras_griffin.files.safetensors import SafeTensors, write_safetensors
from keras_griffin.models import Griffin, LanguageModel
from keras_griffin.models.presets import rwkv4_config
from keras_griffin.models.saving.weights import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.tokenizers import ByteTokenizer
from tests.models.tiny import strong

TOKEN_IDS = np.random.default_rng(1).integers(1, 260, (1, 9))
#: Their names in `transformers`, and those of the authors' code.
AUTHORS = {
    "rwkv.embeddings.": "emb.",
    "rwkv.": "",
    ".attention.": ".att.",
    ".feed_forward.": ".ffn.",
    "pre_ln": "ln0",
    "time_mix_key": "time_mix_k",
    "time_mix_value": "time_mix_v",
    "time_mix_receptance": "time_mix_r",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model, and its folder in the format of `transformers`."""
    model = strong(LanguageModel(rwkv4_config(260, 8, 2, expand=3), tokenizer=ByteTokenizer()))
    folder = tmp_path_factory.mktemp("rwkv") / "model"
    save_huggingface(model, folder)
    return model, folder


def test_saved_and_loaded_bit_by_bit(saved):
    model, folder = saved
    loaded = load_rwkv(folder)
    assert loaded.config == model.config and type(loaded) is LanguageModel
    assert isinstance(loaded.tokenizer, ByteTokenizer)
    ours = {variable.path: as_array(variable).tobytes() for variable in model.weights}
    assert {variable.path: as_array(variable).tobytes() for variable in loaded.weights} == ours
    assert_close(loaded(TOKEN_IDS), keras.ops.convert_to_numpy(model(TOKEN_IDS)))


@pytest.mark.any_backend
def test_the_names_and_shapes_are_those_of_transformers(saved):
    _, folder = saved
    tensors = SafeTensors(folder / "model.safetensors")
    shapes = {name: tensors.shape(name) for name in tensors}
    assert is_rwkv(shapes) and len(shapes) == 2 * 18 + 4 + 2
    assert shapes["rwkv.embeddings.weight"] == shapes["head.weight"] == (260, 8)
    assert shapes["rwkv.blocks.0.pre_ln.bias"] == shapes["rwkv.blocks.1.ln2.weight"] == (8,)
    assert shapes["rwkv.blocks.1.attention.time_mix_receptance"] == (1, 1, 8)
    assert shapes["rwkv.blocks.1.attention.time_decay"] == (8,)
    assert shapes["rwkv.blocks.0.feed_forward.key.weight"] == (24, 8)
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"], config["intermediate_size"]) == ("rwkv", 2, 24)


@pytest.mark.any_backend
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_checkpoint_of_the_authors(saved, tmp_path, suffix):
    """It has no config: sizes are those of its shapes."""
    model, folder = saved
    tensors = SafeTensors(folder / "model.safetensors")
    renamed = {}
    for name in tensors:
        theirs = name
        for one, other in AUTHORS.items():
            theirs = theirs.replace(one, other)
        renamed[theirs] = np.array(tensors[name])
    path = tmp_path / f"rwkv{suffix}"
    if suffix == ".pth":
        torch = pytest.importorskip("torch", reason="needs the extra torch")
        torch.save({name: torch.tensor(array) for name, array in renamed.items()}, path)
    else:
        write_safetensors(path, renamed)
    loaded = Griffin.from_preset(path)
    assert type(loaded) is Griffin and loaded.config == model.config
    assert_close(loaded(TOKEN_IDS), keras.ops.convert_to_numpy(model(TOKEN_IDS)))


def test_it_decodes_as_it_reads(saved):
    model, _ = saved
    rows = model.generate(TOKEN_IDS, 3)
    expected = keras.ops.convert_to_numpy(model(rows[:, :-1]))[:, 8:].argmax(-1)
    np.testing.assert_array_equal(rows[:, 9:], expected)


@pytest.mark.any_backend
def test_a_checkpoint_of_another_model(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", {"emb.weight": np.zeros((2, 2), "float32")})
    with pytest.raises(ValueError, match=r"^load_rwkv: the checkpoint must have the tensor rwkv\..* or blocks\.0\.att"):
        load_rwkv_as(LanguageModel, tmp_path / "model.safetensors")
