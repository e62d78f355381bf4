"""Read the `config.json` of a Mamba, of `transformers` or of its authors, and write that of `transformers`."""

import math
from collections.abc import Mapping
from typing import Any

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.conversion.config_entries import Entries, common_entries, require_fields, require_saveable
from keras_griffin.mixers import Mamba
from keras_griffin.models import GriffinConfig

NAME = "load_mamba"
#: The defaults of `transformers`.
DEFAULTS = {
    "vocab_size": 50280,
    "hidden_size": 768,
    "num_hidden_layers": 32,
    "state_size": 16,
    "expand": 2,
    "conv_kernel": 4,
    "time_step_rank": "auto",
    "layer_norm_epsilon": 1e-5,
    "hidden_act": "silu",
    "use_bias": False,
    "use_conv_bias": True,
    "tie_word_embeddings": True,
}
#: The authors' names of the same: of the model, and of its `ssm_cfg`, each with its default.
AUTHORS = {"vocab_size": ("vocab_size", 50277), "hidden_size": ("d_model", 2560), "num_hidden_layers": ("n_layer", 64)}
AUTHORS_SSM = {
    "state_size": ("d_state", 16),
    "expand": ("expand", 2),
    "conv_kernel": ("d_conv", 4),
    "time_step_rank": ("dt_rank", "auto"),
    "use_bias": ("bias", False),
    "use_conv_bias": ("conv_bias", True),
}
#: The only supported values of other entries of the authors' config; all are optional.
AUTHORS_FIXED: dict[str, Any] = {"rms_norm": True, "tie_embeddings": True, "d_intermediate": 0, "attn_layer_idx": []}


def read_mamba_config(raw: Mapping) -> GriffinConfig:
    """The model that a `config.json` describes, of `transformers`, or of the authors' code without a `model_type`."""
    if "model_type" not in raw and "d_model" in raw:
        entries = _of_authors(raw)
    else:
        entries = Entries(NAME, {**DEFAULTS, **raw})
        entries.require_values(model_type="mamba")
    entries.require_values(hidden_act="silu", use_bias=False, use_conv_bias=True, tie_word_embeddings=True)
    entries.require_counts("vocab_size", "hidden_size", "num_hidden_layers", "state_size", "expand", "conv_kernel")
    width, expand = entries["hidden_size"], entries["expand"]
    own_rank, rank = math.ceil(width / 16), entries["time_step_rank"]
    rank = own_rank if rank == "auto" else rank
    entries.require(COUNT.holds(rank), "time_step_rank", f"must be 'auto' or {COUNT.words}")
    inner = expand * width
    is_inner = entries.get("intermediate_size", inner) == inner
    entries.require(is_inner, "intermediate_size", f"must be expand * hidden_size, {inner}")
    entries.require(POSITIVE.holds(entries["layer_norm_epsilon"]), "layer_norm_epsilon", "must be a positive number")
    options = {
        "state_size": (entries["state_size"], 16),
        "expand": (expand, 2),
        "conv_kernel_size": (entries["conv_kernel"], 4),
        "rank": (rank, own_rank),
    }
    given = {name: value for name, (value, default) in options.items() if value != default}
    return GriffinConfig(
        vocabulary_size=entries["vocab_size"],
        width=width,
        num_layers=entries["num_hidden_layers"],
        num_heads=1,
        block_pattern=("mamba",),
        mlp_width=0,
        norm_epsilon=entries["layer_norm_epsilon"],
        mixer_options={"mamba": given} if given else {},
    )


def _of_authors(raw) -> Entries:
    """The authors' entries under the names of `transformers`."""
    ssm, multiple = raw.get("ssm_cfg") or {}, raw.get("pad_vocab_size_multiple", 1)
    theirs = Entries(NAME, {**AUTHORS_FIXED, **raw, "ssm_cfg": ssm, "pad_vocab_size_multiple": multiple})
    theirs.require(isinstance(ssm, Mapping), "ssm_cfg", "must be an object")
    Entries(NAME, {"layer": "Mamba1", **ssm}, {"layer": "the layer of ssm_cfg"}).require_values(layer="Mamba1")
    theirs.require_values(**AUTHORS_FIXED)
    theirs.require_counts("pad_vocab_size_multiple")
    entries, names = dict(DEFAULTS), {}
    for source, table in ((raw, AUTHORS), (ssm, AUTHORS_SSM)):
        for name, (their_name, default) in table.items():
            entries[name], names[name] = source.get(their_name, default), their_name
    if COUNT.holds(entries["vocab_size"]):
        entries["vocab_size"] = multiple * math.ceil(entries["vocab_size"] / multiple)
    return Entries(NAME, entries, names)


def write_mamba_config(config: GriffinConfig, dtype: str) -> dict:
    """A `config.json` of `transformers`, without the ids of special tokens, for a model whose only mixer is `mamba`."""
    family, mixer = "transformers' Mamba", config.mixer_class("mamba")
    require_saveable(mixer is Mamba, "the mixer mamba must be Mamba", family, mixer.__name__)
    fields = {"mlp_width": 0, "scale_embeddings": False, "logits_soft_cap": None, "norm": "rms"}
    require_fields(config, family, **fields, embedding_norm=False, tie_embeddings=True)
    layer: Any = Mamba(**config.mixer_arguments("mamba"))
    return {
        **common_entries("MambaForCausalLM", "mamba", config, dtype),
        "intermediate_size": layer.expand * config.width,
        "num_hidden_layers": config.num_layers,
        "state_size": layer.state_size,
        "expand": layer.expand,
        "conv_kernel": layer.conv_kernel_size,
        "time_step_rank": layer.rank or math.ceil(config.width / 16),
        "layer_norm_epsilon": config.norm_epsilon,
        "hidden_act": "silu",
        "use_bias": False,
        "use_conv_bias": True,
        "residual_in_fp32": True,
        "tie_word_embeddings": True,
    }
