import json

import keras
import ml_dtypes
import numpy as np
import pytest

from keras_griffin.conversion import load_mamba, load_mamba2, load_recurrentgemma, load_rwkv, save_huggingface
from keras_griffin.conversion.huggingface import family_of, foreign_tensors
from keras_griffin.conversion.namings import HUGGING_FACE
from keras_griffin.files.safetensors import SafeTensors
from keras_griffin.models import Griffin, GriffinConfig, Hawk, LanguageModel, MQATransformer
from keras_griffin.models.presets import rwkv4_config
from keras_griffin.tokenizers import ByteTokenizer
from tests.conversion.checkpoints import (
    MAMBA2_OTHER,
    MAMBA_OTHER,
    OTHER,
    RWKV,
    bits,
    config_of,
    weights_of,
    write_folder,
)

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
MAMBA_CONFIG = GriffinConfig(260, 16, 2, 1, block_pattern=("mamba",), mlp_width=0, norm_epsilon=1e-5)
MAMBA2_CONFIG = MAMBA_CONFIG.replace(block_pattern=("mamba2",))
MAMBA2_OPTIONS = {"mamba2": {"expand": 3, "conv_kernel_size": 2, "state_size": 5, "num_heads": 6, "groups": 2}}
MAMBA_OPTIONS = {"mamba": {"state_size": 5, "rank": 3, "expand": 1, "conv_kernel_size": 2}}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("case", "load"),
    [(OTHER, load_recurrentgemma), (MAMBA_OTHER, load_mamba), (MAMBA2_OTHER, load_mamba2), (RWKV, load_rwkv)],
)
def test_theirs_to_ours_to_theirs_bit_by_bit(tmp_path, case, load, dtype):
    weights = {
        name: array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        for name, array in weights_of(case).items()
    }
    folder = write_folder(tmp_path / "theirs", case, changes=weights)
    save_huggingface(load(folder, dtype), tmp_path / "ours")
    saved = SafeTensors(tmp_path / "ours" / "model.safetensors")
    assert set(saved) == set(weights) and saved.metadata == {"format": "pt"}
    for name, array in weights.items():
        # The dynamics of Mamba's recurrence are always in float32.
        expected = array.astype("float32") if name.endswith(("A_log", "dt_bias")) else array
        assert (saved.dtype(name), saved.shape(name)) == (expected.dtype, expected.shape), name
        assert saved[name].tobytes() == expected.tobytes(), name
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    theirs = {**config_of(case), "dtype": dtype}
    theirs.pop("rescale_every", None)
    assert {name: config[name] for name in theirs} == theirs


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("cls", "config", "load"),
    [
        (Griffin, CONFIG, load_recurrentgemma),
        (Hawk, CONFIG, load_recurrentgemma),
        (LanguageModel, MAMBA_CONFIG, load_mamba),
        (LanguageModel, MAMBA_CONFIG.replace(mixer_options=MAMBA_OPTIONS), load_mamba),
        (LanguageModel, MAMBA2_CONFIG, load_mamba2),
        (LanguageModel, MAMBA2_CONFIG.replace(mixer_options=MAMBA2_OPTIONS), load_mamba2),
        (LanguageModel, rwkv4_config(260, 8, 2, expand=3), load_rwkv),
    ],
)
def test_ours_to_theirs_to_ours_bit_by_bit(tmp_path, dtype, cls, config, load):
    model = cls(config, dtype=dtype)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        # Small ones too: the scale of Mamba's norms, stored plus one, could not hold their last bits.
        values = rng.standard_normal(variable.shape) * 10.0 ** -rng.integers(0, 3, variable.shape)
        variable.assign(keras.ops.cast(values, variable.dtype))
    save_huggingface(model, tmp_path / "theirs")
    loaded = load(tmp_path / "theirs", dtype)
    assert loaded.config == model.config and bits(loaded) == bits(model)


def test_only_one_tensor_is_made_at_a_time():
    model = Griffin(CONFIG)
    assert family_of(CONFIG)[0] is HUGGING_FACE
    tensors = foreign_tensors(model)
    kernel = next(variable for variable in model.weights if variable.path == "block_0/mixer/gate/kernel")
    kernel.assign(keras.ops.ones(kernel.shape))
    assert np.all(tensors["model.layers.0.temporal_block.linear_y.weight"].read() == 1.0)


def test_the_tokenizer_and_its_ids(tmp_path):
    model = Griffin(CONFIG, tokenizer=ByteTokenizer())
    save_huggingface(model, tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    ids = model.tokenizer.pad_id, model.tokenizer.start_id, None
    assert (config["pad_token_id"], config["bos_token_id"], config["eos_token_id"]) == ids
    for path in (tmp_path / "theirs", tmp_path / "theirs" / "model.safetensors"):
        assert load_recurrentgemma(path).tokenizer == ByteTokenizer()


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = tmp_path / "theirs"
    save_huggingface(Griffin(CONFIG), folder)
    before = (folder / "model.safetensors").read_bytes()
    model = Griffin(CONFIG, tokenizer=ByteTokenizer())
    monkeypatch.setattr(ByteTokenizer, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
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
