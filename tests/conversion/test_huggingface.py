import json

import keras
import ml_dtypes
import numpy as np
import pytest

from keras_griffin.conversion import load_recurrentgemma, save_huggingface
from keras_griffin.conversion.huggingface import foreign_tensors
from keras_griffin.files.safetensors import SafeTensors
from keras_griffin.models import Griffin, GriffinConfig, Hawk, MQATransformer
from keras_griffin.tokenizers import ByteTokenizer

CONFIG = GriffinConfig(
    vocabulary_size=260,
    width=16,
    num_layers=4,
    num_heads=2,
    recurrence_width=24,
    head_dim=12,
    num_key_value_heads=2,
    window=3,
    num_gate_blocks=2,
    decay_initializer="ring",
    scale_embeddings=True,
    logits_soft_cap=5.0,
)


def bits(model):
    """The variables' values, each as bytes."""
    return {
        variable.path: (tuple(variable.shape), keras.ops.convert_to_numpy(variable).tobytes())
        for variable in model.weights
    }


def set_every_variable(model):
    """Numbers other than the initial zeros, so that no two variables can be mistaken for one another."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(keras.ops.cast(rng.standard_normal(variable.shape), variable.dtype))
    return model


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_theirs_to_ours_to_theirs_bit_by_bit(tmp_path, checkpoints, dtype):
    weights = checkpoints.huggingface_weights(dtype=ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    folder = checkpoints.write_huggingface(tmp_path / "theirs", weights)
    save_huggingface(load_recurrentgemma(folder, dtype), tmp_path / "ours")
    saved = SafeTensors(tmp_path / "ours" / "model.safetensors")
    assert set(saved) == set(weights) and saved.metadata == {"format": "pt"}
    for name, array in weights.items():
        assert (saved.dtype(name), saved.shape(name)) == (array.dtype, array.shape)
        assert saved[name].tobytes() == array.tobytes(), name
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config["dtype"] == dtype
    assert {name: config[name] for name in checkpoints.config if name != "bos_token_id"} == {
        name: value for name, value in checkpoints.config.items() if name != "bos_token_id"
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mixed_bfloat16"])
@pytest.mark.parametrize("cls", [Griffin, Hawk])
def test_ours_to_theirs_to_ours_bit_by_bit(tmp_path, dtype, cls):
    model = set_every_variable(cls(CONFIG, dtype=dtype))
    save_huggingface(model, tmp_path / "theirs")
    loaded = load_recurrentgemma(tmp_path / "theirs", dtype)
    assert loaded.config == model.config
    assert bits(loaded) == bits(model)


def test_only_one_tensor_is_made_at_a_time():
    model = Griffin(CONFIG)
    tensors = foreign_tensors(model)
    kernel = next(variable for variable in model.weights if variable.path == "block_0/mixer/gate/kernel")
    kernel.assign(keras.ops.ones(kernel.shape))
    assert np.all(tensors["model.layers.0.temporal_block.linear_y.weight"].read() == 1.0)


def test_the_tokenizer_and_its_ids(tmp_path):
    model = Griffin(CONFIG)
    model.tokenizer = ByteTokenizer()
    save_huggingface(model, tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert (config["pad_token_id"], config["bos_token_id"], config["eos_token_id"]) == (
        model.tokenizer.pad_id,
        model.tokenizer.start_id,
        None,
    )
    assert load_recurrentgemma(tmp_path / "theirs").tokenizer == ByteTokenizer()


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = tmp_path / "theirs"
    save_huggingface(Griffin(CONFIG), folder)
    before = (folder / "model.safetensors").read_bytes()
    model = Griffin(CONFIG)
    monkeypatch.setattr(ByteTokenizer, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    model.tokenizer = ByteTokenizer()
    with pytest.raises(OSError, match="disk full"):
        save_huggingface(model, folder)
    assert (folder / "model.safetensors").read_bytes() == before
    (folder / "README.md").write_text("mine")
    with pytest.raises(ValueError, match=r"^save_huggingface: .* with README\.md\."):
        save_huggingface(model, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^save_huggingface: block_pattern must be .* Got global_mqa\.$"):
        save_huggingface(MQATransformer(CONFIG), tmp_path / "theirs")
    with pytest.raises(ValueError, match=r"^save_huggingface: the model must be a LanguageModel\. Got <Sequential"):
        save_huggingface(keras.Sequential([keras.Input((1,))]), tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()
