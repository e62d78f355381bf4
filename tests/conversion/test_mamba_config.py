"""Configs as they are published, and what is refused."""

import math

import pytest

from keras_griffin.conversion.mamba import MAMBA, MAMBA2
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
#: Those of a mamba2-130m in the format of `transformers` 5.24, and of the authors' mamba2-130m.
PUBLISHED2 = {
    "model_type": "mamba2",
    "conv_kernel": 4,
    "expand": 2,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 768,
    "layer_norm_epsilon": 1e-05,
    "n_groups": 1,
    "num_heads": 24,
    "num_hidden_layers": 24,
    "state_size": 128,
    "tie_word_embeddings": True,
    "time_step_limit": [0.0, {"__float__": "Infinity"}],
    "use_bias": False,
    "use_conv_bias": True,
    "vocab_size": 50288,
}
AUTHORS2 = {
    "d_model": 768,
    "d_intermediate": 0,
    "n_layer": 24,
    "vocab_size": 50277,
    "ssm_cfg": {"layer": "Mamba2"},
    "attn_layer_idx": [],
    "attn_cfg": {},
    "rms_norm": True,
    "residual_in_fp32": True,
    "fused_add_norm": True,
    "pad_vocab_size_multiple": 16,
    "tie_embeddings": True,
}
OF = {"mamba": (MAMBA, PUBLISHED, AUTHORS), "mamba2": (MAMBA2, PUBLISHED2, AUTHORS2)}


def test_published_configs_are_presets():
    assert MAMBA.read_config(PUBLISHED) == MAMBA.read_config(AUTHORS) == presets()["mamba_130m"]
    assert MAMBA.read_config({**PUBLISHED, "time_step_rank": "auto"}) == presets()["mamba_130m"]
    for name, config in presets().items():
        if name.startswith("mamba_"):
            assert MAMBA.read_config(MAMBA.write_config(config, "float32")) == config


def test_values_other_than_the_defaults_are_options_of_the_mixer():
    options = {"state_size": 8, "expand": 4, "conv_kernel_size": 3, "rank": 5}
    theirs = {"state_size": 8, "expand": 4, "conv_kernel": 3, "time_step_rank": 5, "intermediate_size": 3072}
    assert MAMBA.read_config({**PUBLISHED, **theirs}).mixer_options == {"mamba": options}
    ssm = {"d_state": 8, "expand": 4, "d_conv": 3, "dt_rank": 5, "layer": "Mamba1"}
    assert MAMBA.read_config({**AUTHORS, "ssm_cfg": ssm}).mixer_options == {"mamba": options}


def test_published_configs_of_mamba2():
    config = GriffinConfig(50_288, 768, 24, 1, block_pattern=("mamba2",), mlp_width=0, norm_epsilon=1e-5)
    assert MAMBA2.read_config(PUBLISHED2) == MAMBA2.read_config(AUTHORS2) == config
    assert MAMBA2.read_config(MAMBA2.write_config(config, "float32")) == config
    assert MAMBA2.read_config({**PUBLISHED2, "time_step_limit": [0.0, math.inf]}) == config
    # 24 layers of the projections, the convolution of 4 taps, 3 numbers for each head, and the norms.
    layer = 768 * (2 * 1536 + 256 + 24) + 1536 * 768 + 5 * (1536 + 256) + 3 * 24 + 1536 + 768
    assert config.parameter_count() == 50_288 * 768 + 24 * layer + 768


def test_values_other_than_the_defaults_are_options_of_mamba2():
    options = {"expand": 4, "conv_kernel_size": 3, "state_size": 8, "num_heads": 96, "groups": 6}
    theirs = {"state_size": 8, "expand": 4, "conv_kernel": 3, "num_heads": 96, "head_dim": 32, "n_groups": 6}
    assert MAMBA2.read_config({**PUBLISHED2, **theirs}).mixer_options == {"mamba2": options}
    ssm = {"d_state": 8, "expand": 4, "d_conv": 3, "headdim": 32, "ngroups": 6, "layer": "Mamba2"}
    assert MAMBA2.read_config({**AUTHORS2, "ssm_cfg": ssm}).mixer_options == {"mamba2": options}


@pytest.mark.parametrize(
    ("family", "change", "sentence"),
    [
        ("mamba", {"model_type": "mamba2"}, "model_type must be 'mamba'. Got 'mamba2'."),
        ("mamba", {"model_type": "falcon_mamba"}, "model_type must be 'mamba'. Got 'falcon_mamba'."),
        ("mamba", {"hidden_act": "gelu"}, "hidden_act must be 'silu'. Got 'gelu'."),
        ("mamba", {"use_bias": True}, "use_bias must be false. Got True."),
        ("mamba", {"use_conv_bias": False}, "use_conv_bias must be true. Got False."),
        ("mamba", {"tie_word_embeddings": False}, "tie_word_embeddings must be true. Got False."),
        ("mamba", {"intermediate_size": 1000}, "intermediate_size must be expand * hidden_size, 1536. Got 1000."),
        ("mamba", {"expand": 1.5}, "expand must be an integer of at least 1. Got 1.5."),
        ("mamba", {"time_step_rank": 0}, "time_step_rank must be 'auto' or an integer of at least 1. Got 0."),
        (
            "mamba",
            {"time_step_rank": "large"},
            "time_step_rank must be 'auto' or an integer of at least 1. Got 'large'.",
        ),
        ("mamba", {"hidden_size": "768"}, "hidden_size must be an integer of at least 1. Got '768'."),
        ("mamba", {"layer_norm_epsilon": None}, "layer_norm_epsilon must be a positive number. Got None."),
        ("mamba2", {"model_type": "mamba"}, "model_type must be 'mamba2'. Got 'mamba'."),
        ("mamba2", {"tie_word_embeddings": None}, "tie_word_embeddings must be true. Got None."),
        ("mamba2", {"rms_norm": False}, "rms_norm must be true. Got False."),
        ("mamba2", {"time_step_limit": [0.0, 0.5]}, "time_step_limit must be [0.0, Infinity]. Got [0.0, 0.5]."),
        ("mamba2", {"time_step_limit": None}, "time_step_limit must be [0.0, Infinity]. Got None."),
        ("mamba2", {"head_dim": 50}, "head_dim must divide expand * hidden_size, 1536. Got 50."),
        ("mamba2", {"head_dim": 0}, "head_dim must be an integer of at least 1. Got 0."),
        ("mamba2", {"num_heads": 23}, "num_heads must be expand * hidden_size / head_dim, 24. Got 23."),
        ("mamba2", {"n_groups": 5}, "n_groups must divide the number of heads, 24. Got 5."),
    ],
)
def test_what_is_not_supported_is_refused(family, change, sentence):
    reader, published, _ = OF[family]
    with pytest.raises(ValueError) as caught:
        reader.read_config({**published, **change})
    assert str(caught.value) == f"load_{family}: in config.json, {sentence}"


@pytest.mark.parametrize(
    ("family", "change", "sentence"),
    [
        ("mamba", {"rms_norm": False}, "rms_norm must be true. Got False."),
        ("mamba", {"tie_embeddings": False}, "tie_embeddings must be true. Got False."),
        ("mamba", {"d_intermediate": 64}, "d_intermediate must be 0. Got 64."),
        ("mamba", {"attn_layer_idx": [3]}, "attn_layer_idx must be []. Got [3]."),
        ("mamba", {"ssm_cfg": {"layer": "Mamba2"}}, "the layer of ssm_cfg must be 'Mamba1'. Got 'Mamba2'."),
        ("mamba", {"ssm_cfg": [1]}, "ssm_cfg must be an object. Got [1]."),
        ("mamba", {"ssm_cfg": {"bias": True}}, "bias must be false. Got True."),
        ("mamba", {"ssm_cfg": {"conv_bias": False}}, "conv_bias must be true. Got False."),
        ("mamba", {"ssm_cfg": {"d_state": "16"}}, "d_state must be an integer of at least 1. Got '16'."),
        ("mamba", {"pad_vocab_size_multiple": 0}, "pad_vocab_size_multiple must be an integer of at least 1. Got 0."),
        ("mamba", {"n_layer": None}, "n_layer must be an integer of at least 1. Got None."),
        ("mamba2", {"ssm_cfg": {}}, "the layer of ssm_cfg must be 'Mamba2'. Got 'Mamba1'."),
        *(
            ("mamba2", {"ssm_cfg": {"layer": "Mamba2", **ssm}}, sentence)
            for ssm, sentence in (
                ({"rmsnorm": False}, "rmsnorm must be true. Got False."),
                ({"norm_before_gate": True}, "norm_before_gate must be false. Got True."),
                ({"D_has_hdim": True}, "D_has_hdim must be false. Got True."),
                ({"d_ssm": 512}, "d_ssm must be None. Got 512."),
                ({"dt_limit": [0.1, 1.0]}, "dt_limit must be [0.0, Infinity]. Got [0.1, 1.0]."),
                ({"headdim": 7}, "headdim must divide expand * hidden_size, 1536. Got 7."),
            )
        ),
    ],
)
def test_what_is_not_supported_in_the_authors_config_is_refused(family, change, sentence):
    reader, _, authors = OF[family]
    with pytest.raises(ValueError) as caught:
        reader.read_config({**authors, **change})
    assert str(caught.value) == f"load_{family}: in config.json, {sentence}"


def test_a_config_without_a_family_is_refused():
    with pytest.raises(ValueError, match=r"model_type must be 'mamba'\. Got None\.$"):
        MAMBA.read_config({"hidden_size": 768})


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
        ({"block_pattern": ("mamba2",), "mlp_width": 8}, "mlp_width must be 0 for transformers' Mamba-2. Got 8."),
        (
            {"block_pattern": ("mamba2",), "mixer_options": {"mamba2": {"mixer": "mamba"}}},
            "the mixer mamba2 must be Mamba2 for transformers' Mamba-2. Got Mamba.",
        ),
    ],
)
def test_what_transformers_does_not_support_is_refused(change, sentence):
    config = GriffinConfig(260, 16, 2, 1, block_pattern=("mamba",), mlp_width=0).replace(**change)
    family, *_ = OF[config.block_pattern[0]]
    with pytest.raises(ValueError) as caught:
        family.write_config(config, "float32")
    assert str(caught.value) == f"save_huggingface: {sentence}"
