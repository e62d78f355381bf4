"""Configs as they are published, and what is refused."""

import pytest

from keras_griffin.conversion.mamba import read_mamba_config, write_mamba_config
from keras_griffin.models import GriffinConfig, presets

pytestmark = pytest.mark.any_backend

#: Those of mamba-130m-hf, without what does not change the model, and of the authors' mamba-130m.
PUBLISHED = {
    "model_type": "mamba",
    "conv_kernel": 4,
    "d_model": 768,
    "expand": 2,
    "hidden_act": "silu",
    "hidden_size": 768,
    "intermediate_size": 1536,
    "layer_norm_epsilon": 1e-05,
    "n_layer": 24,
    "num_hidden_layers": 24,
    "state_size": 16,
    "time_step_rank": 48,
    "use_bias": False,
    "use_conv_bias": True,
    "vocab_size": 50280,
}
AUTHORS = {
    "d_model": 768,
    "n_layer": 24,
    "vocab_size": 50277,
    "ssm_cfg": {},
    "rms_norm": True,
    "residual_in_fp32": True,
    "fused_add_norm": True,
    "pad_vocab_size_multiple": 8,
}


def test_published_configs_are_presets():
    assert read_mamba_config(PUBLISHED) == read_mamba_config(AUTHORS) == presets()["mamba_130m"]
    assert read_mamba_config({**PUBLISHED, "time_step_rank": "auto"}) == presets()["mamba_130m"]
    for name, config in presets().items():
        if name.startswith("mamba_"):
            assert read_mamba_config(write_mamba_config(config, "float32")) == config


def test_values_other_than_the_defaults_are_options_of_the_mixer():
    options = {"state_size": 8, "expand": 4, "conv_kernel_size": 3, "rank": 5}
    theirs = {"state_size": 8, "expand": 4, "conv_kernel": 3, "time_step_rank": 5, "intermediate_size": 3072}
    assert read_mamba_config({**PUBLISHED, **theirs}).mixer_options == {"mamba": options}
    ssm = {"d_state": 8, "expand": 4, "d_conv": 3, "dt_rank": 5, "layer": "Mamba1"}
    assert read_mamba_config({**AUTHORS, "ssm_cfg": ssm}).mixer_options == {"mamba": options}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "mamba2"}, "model_type must be 'mamba'. Got 'mamba2'."),
        ({"model_type": "falcon_mamba"}, "model_type must be 'mamba'. Got 'falcon_mamba'."),
        ({"hidden_act": "gelu"}, "hidden_act must be 'silu'. Got 'gelu'."),
        ({"use_bias": True}, "use_bias must be false. Got True."),
        ({"use_conv_bias": False}, "use_conv_bias must be true. Got False."),
        ({"tie_word_embeddings": False}, "tie_word_embeddings must be true. Got False."),
        ({"intermediate_size": 1000}, "intermediate_size must be expand * hidden_size, 1536. Got 1000."),
        ({"expand": 1.5}, "expand must be an integer of at least 1. Got 1.5."),
        ({"time_step_rank": 0}, "time_step_rank must be 'auto' or an integer of at least 1. Got 0."),
        ({"time_step_rank": "large"}, "time_step_rank must be 'auto' or an integer of at least 1. Got 'large'."),
        ({"hidden_size": "768"}, "hidden_size must be an integer of at least 1. Got '768'."),
        ({"layer_norm_epsilon": None}, "layer_norm_epsilon must be a positive number. Got None."),
    ],
)
def test_what_is_not_supported_is_refused(change, sentence):
    with pytest.raises(ValueError) as caught:
        read_mamba_config({**PUBLISHED, **change})
    assert str(caught.value) == f"load_mamba: in config.json, {sentence}"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rms_norm": False}, "rms_norm must be true. Got False."),
        ({"tie_embeddings": False}, "tie_embeddings must be true. Got False."),
        ({"d_intermediate": 64}, "d_intermediate must be 0. Got 64."),
        ({"attn_layer_idx": [3]}, "attn_layer_idx must be []. Got [3]."),
        ({"ssm_cfg": {"layer": "Mamba2"}}, "the layer of ssm_cfg must be 'Mamba1'. Got 'Mamba2'."),
        ({"ssm_cfg": [1]}, "ssm_cfg must be an object. Got [1]."),
        ({"ssm_cfg": {"bias": True}}, "bias must be false. Got True."),
        ({"ssm_cfg": {"conv_bias": False}}, "conv_bias must be true. Got False."),
        ({"ssm_cfg": {"d_state": "16"}}, "d_state must be an integer of at least 1. Got '16'."),
        ({"pad_vocab_size_multiple": 0}, "pad_vocab_size_multiple must be an integer of at least 1. Got 0."),
        ({"n_layer": None}, "n_layer must be an integer of at least 1. Got None."),
    ],
)
def test_what_is_not_supported_in_the_authors_config_is_refused(change, sentence):
    with pytest.raises(ValueError) as caught:
        read_mamba_config({**AUTHORS, **change})
    assert str(caught.value) == f"load_mamba: in config.json, {sentence}"


def test_a_config_without_a_family_is_refused():
    with pytest.raises(ValueError, match=r"model_type must be 'mamba'\. Got None\.$"):
        read_mamba_config({"hidden_size": 768})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mlp_width": 8}, "mlp_width must be 0 for transformers' Mamba. Got 8."),
        ({"scale_embeddings": True}, "scale_embeddings must be False for transformers' Mamba. Got True."),
        ({"logits_soft_cap": 3.0}, "logits_soft_cap must be None for transformers' Mamba. Got 3.0."),
        ({"norm": "layer"}, "norm must be rms for transformers' Mamba. Got layer."),
        ({"embedding_norm": True}, "embedding_norm must be False for transformers' Mamba. Got True."),
        ({"tie_embeddings": False}, "tie_embeddings must be True for transformers' Mamba. Got False."),
        (
            {"mixer_options": {"mamba": {"mixer": "recurrent"}}},
            "the mixer mamba must be Mamba for transformers' Mamba. Got RecurrentBlock.",
        ),
    ],
)
def test_what_transformers_does_not_support_is_refused(change, sentence):
    config = GriffinConfig(260, 16, 2, 1, block_pattern=("mamba",), mlp_width=0).replace(**change)
    with pytest.raises(ValueError) as caught:
        write_mamba_config(config, "float32")
    assert str(caught.value) == f"save_huggingface: {sentence}"
