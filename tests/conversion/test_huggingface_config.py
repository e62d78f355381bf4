import json

import pytest

from keras_griffin.conversion.recurrentgemma import read_config, write_config
from keras_griffin.models import GriffinConfig, presets

pytestmark = pytest.mark.any_backend

#: As google/recurrentgemma-2b has it, without what names the files and trains.
RELEASED_2B = {
    "_block_types": ["recurrent", "recurrent", "attention"],
    "attention_bias": False,
    "attention_window_size": 2048,
    "conv1d_width": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 2560,
    "intermediate_size": 15360,
    "logits_soft_cap": 30.0,
    "lru_width": 2560,
    "model_type": "recurrent_gemma",
    "num_attention_heads": 10,
    "num_hidden_layers": 26,
    "num_key_value_heads": 1,
    "partial_rotary_factor": 0.5,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "transformers_version": "4.40.0.dev0",
    "vocab_size": 256000,
}
SMALL = {
    "model_type": "recurrent_gemma",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "intermediate_size": 96,
    "vocab_size": 11,
}


def test_the_released_config_is_the_preset():
    assert read_config(RELEASED_2B) == presets()["recurrentgemma_2b"]


def test_what_is_not_said_is_what_transformers_takes():
    config = read_config(SMALL)
    assert (config.width, config.mlp_width, config.recurrence_width, config.head_dim) == (64, 48, 64, 16)
    assert (config.num_key_value_heads, config.num_gate_blocks, config.window) == (4, 4, 2048)
    assert (config.rotary_base, config.rotary_fraction, config.norm_epsilon) == (10000.0, 0.5, 1e-6)
    assert config.block_pattern == ("recurrent", "recurrent", "local_mqa")
    assert read_config({"model_type": "recurrent_gemma", "num_key_value_heads": 1}).mlp_width == 3840
    assert read_config({**SMALL, "lru_width": None, "num_key_value_heads": None, "head_dim": None}) == config


@pytest.mark.parametrize(
    ("spelling", "base", "fraction"),
    [
        ({}, 10000.0, 0.5),
        ({"rope_theta": 500.0, "partial_rotary_factor": 0.25}, 500.0, 0.25),
        ({"rope_parameters": {"rope_theta": 7, "rope_type": "default"}}, 7.0, 0.5),
        ({"rope_parameters": {"rope_theta": 7.0, "partial_rotary_factor": 0.25}}, 7.0, 0.25),
        ({"rope_parameters": {"rope_theta": 7.0}, "rope_theta": 9.0, "partial_rotary_factor": 0.25}, 7.0, 0.25),
        ({"rope_parameters": None, "rope_scaling": None, "rope_theta": 9.0}, 9.0, 0.5),
    ],
)
def test_every_spelling_of_the_rotation(spelling, base, fraction):
    """As transformers 5.24 reads them."""
    config = read_config({**SMALL, **spelling})
    assert (config.rotary_base, config.rotary_fraction) == (base, fraction)


@pytest.mark.parametrize("name", ["block_types", "_block_types"])
def test_every_spelling_of_the_pattern(name):
    assert read_config({**SMALL, name: ["attention", "recurrent"]}).block_pattern == ("local_mqa", "recurrent")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "gemma"}, r"model_type must be 'recurrent_gemma'\. Got 'gemma'"),
        ({"hidden_activation": "gelu"}, r"hidden_activation must be 'gelu_pytorch_tanh'\. Got 'gelu'"),
        ({"attention_bias": True}, r"attention_bias must be false\. Got True"),
        ({"hidden_size": "64"}, r"hidden_size must be an integer of at least 1\. Got '64'"),
        ({"num_attention_heads": 0}, r"num_attention_heads must be an integer of at least 1\. Got 0"),
        ({"intermediate_size": 97}, r"intermediate_size must be even: it is twice the MLP's width\. Got 97"),
        ({"rms_norm_eps": "small"}, r"rms_norm_eps must be a number\. Got 'small'"),
        ({"logits_soft_cap": "low"}, r"logits_soft_cap must be a number\. Got 'low'"),
        ({"block_types": ["recurrent", "mamba"]}, r"block_types must be .* Got \['recurrent', 'mamba'\]"),
        ({"block_types": []}, r"block_types must be a list of recurrent and attention\. Got \[\]"),
        ({"block_types": "recurrent"}, r"block_types must be .* Got 'recurrent'"),
        ({"rope_parameters": {"rope_type": "linear"}}, r"rope_parameters must be .* Got \{'rope_type': 'linear'\}"),
        (
            {"rope_scaling": {"type": "yarn"}},
            r"rope_parameters must be of rope_type 'default'\. Got \{'type': 'yarn'\}",
        ),
        ({"rope_theta": "big"}, r"rope_theta must be a number\. Got 'big'"),
        ({"rope_parameters": {"partial_rotary_factor": "all"}}, r"partial_rotary_factor must be a number\. Got 'all'"),
    ],
)
def test_what_this_package_has_not_is_refused(change, sentence):
    with pytest.raises(ValueError, match=rf"^load_recurrentgemma: in config\.json, {sentence}\.$"):
        read_config({**SMALL, **change})


def test_sizes_that_do_not_fit_are_refused_by_the_config():
    with pytest.raises(ValueError, match=r"^GriffinConfig: num_gate_blocks must divide recurrence_width\."):
        read_config({**SMALL, "lru_width": 66})


@pytest.mark.parametrize(
    "config",
    [
        presets()["recurrentgemma_9b"],
        GriffinConfig(
            vocabulary_size=11,
            width=64,
            num_layers=7,
            num_heads=4,
            mlp_width=50,
            recurrence_width=32,
            head_dim=24,
            num_key_value_heads=2,
            window=9,
            conv_kernel_size=3,
            block_pattern=("local_mqa", "recurrent"),
            num_gate_blocks=4,
            decay_initializer="ring",
            rotary_fraction=0.25,
            rotary_base=50.0,
            scale_embeddings=True,
            logits_soft_cap=5.0,
            norm_epsilon=1e-3,
        ),
    ],
)
def test_what_is_written_is_read(config):
    written = json.loads(json.dumps(write_config(config, "bfloat16")))
    assert read_config(written) == config
    assert written["dtype"] == written["torch_dtype"] == "bfloat16"
    # The spelling before transformers 5.
    del written["rope_parameters"]
    assert read_config(written) == config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"block_pattern": ("recurrent", "global_mqa")}, "block_pattern must be .* Got global_mqa, recurrent"),
        (
            {"mixer_options": {"local_mqa": {"window": 3}}},
            "mixer_options must be empty for transformers. Got {'local_mqa': {'window': 3}}",
        ),
        ({"scale_embeddings": False}, "scale_embeddings must be True for transformers. Got False"),
        ({"norm": "layer"}, "norm must be rms for transformers. Got layer"),
        ({"embedding_norm": True}, "embedding_norm must be False for transformers. Got True"),
        ({"tie_embeddings": False}, "tie_embeddings must be True for transformers. Got False"),
        ({"logits_soft_cap": None}, "logits_soft_cap must be a number for transformers. Got None"),
        ({"mlp_width": 0}, "mlp_width must be at least 1 for transformers. Got 0"),
        ({"num_gate_blocks": 2}, "num_gate_blocks must be num_heads, 4, for transformers. Got 2"),
    ],
)
def test_what_transformers_has_not_is_refused(change, sentence):
    config = read_config(SMALL).replace(**change)
    with pytest.raises(ValueError, match=rf"^save_huggingface: {sentence}\.$"):
        write_config(config, "float32")
