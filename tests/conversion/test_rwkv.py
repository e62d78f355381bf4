"""RWKV-4 there and back; that both say the same is judged by `make parity`."""

import json

import keras
import numpy as np
import pytest

from keras_griffin.conversion import load_rwkv, save_huggingface
from keras_griffin.files.safetensors import SafeTensors, write_safetensors
from keras_griffin.models import Griffin, LanguageModel
from keras_griffin.models.presets import rwkv4_config
from keras_griffin.testing.closeness import assert_close
from keras_griffin.tokenizers import ByteTokenizer
from tests.conversion.checkpoints import RWKV, TOKEN_IDS, bits, rwkv_authors_weights, write_folder
from tests.models.tiny import strong


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model, and its folder in the format of `transformers`."""
    model = strong(LanguageModel(rwkv4_config(260, 8, 2, expand=3), tokenizer=ByteTokenizer()))
    folder = tmp_path_factory.mktemp("rwkv") / "model"
    save_huggingface(model, folder)
    return model, folder


def test_it_computes_and_decodes_as_before(saved):
    model, folder = saved
    loaded = load_rwkv(folder)
    assert type(loaded) is LanguageModel and loaded.config == model.config and bits(loaded) == bits(model)
    assert isinstance(loaded.tokenizer, ByteTokenizer)
    assert_close(loaded(TOKEN_IDS), keras.ops.convert_to_numpy(model(TOKEN_IDS)))
    rows = model.generate(TOKEN_IDS, 3)
    expected = keras.ops.convert_to_numpy(model(rows[:, :-1]))[:, 18:].argmax(-1)
    np.testing.assert_array_equal(rows[:, 19:], expected)


@pytest.mark.any_backend
def test_the_names_and_shapes_are_those_of_transformers(saved):
    _, folder = saved
    tensors = SafeTensors(folder / "model.safetensors")
    shapes = {name: tensors.shape(name) for name in tensors}
    assert len(shapes) == 2 * 18 + 4 + 2
    assert shapes["rwkv.embeddings.weight"] == shapes["head.weight"] == (260, 8)
    assert shapes["rwkv.blocks.0.pre_ln.bias"] == shapes["rwkv.blocks.1.ln2.weight"] == (8,)
    assert shapes["rwkv.blocks.1.attention.time_mix_receptance"] == (1, 1, 8)
    assert shapes["rwkv.blocks.1.attention.time_decay"] == (8,)
    assert shapes["rwkv.blocks.0.feed_forward.key.weight"] == (24, 8)
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"], config["intermediate_size"]) == ("rwkv", 2, 24)


@pytest.mark.any_backend
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_checkpoint_of_the_authors(tmp_path, suffix):
    """It has no config: sizes are those of its shapes."""
    arrays, path = rwkv_authors_weights(), tmp_path / f"rwkv{suffix}"
    if suffix == ".pth":
        torch = pytest.importorskip("torch", reason="needs the extra torch")
        torch.save({name: torch.tensor(array) for name, array in arrays.items()}, path)
    else:
        write_safetensors(path, arrays)
    loaded, expected = Griffin.from_preset(path), load_rwkv(write_folder(tmp_path / "folder", RWKV))
    assert type(loaded) is Griffin and loaded.config == expected.config and bits(loaded) == bits(expected)


@pytest.mark.any_backend
def test_a_checkpoint_of_another_model(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", {"emb.weight": np.zeros((2, 2), "float32")})
    with pytest.raises(ValueError, match=r"^load_rwkv: the checkpoint must have the tensor rwkv\..* or blocks\.0\.att"):
        load_rwkv(tmp_path / "model.safetensors")
