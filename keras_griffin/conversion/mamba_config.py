"""Read the `config.json` of a Mamba, of `transformers` or of its authors, and write that of `transformers`."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.conversion.foreign import refuse_config
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
#: What the authors' config must say of everything else that changes the model, if it says anything.
AUTHORS_FIXED = {"rms_norm": True, "tie_embeddings": True, "d_intermediate": 0, "attn_layer_idx": []}


def read_mamba_config(raw: Mapping) -> GriffinConfig:
    """The model that a `config.json` describes.

    Args:
        raw: the parsed JSON, of `transformers`, or of the authors' code, which has no `model_type`.

    Returns:
        The `GriffinConfig`. Values other than Mamba's defaults are in its `mixer_options`.

    Raises:
        ValueError: it is of a different model, or this package does not support it.
    """
    if "model_type" in raw or "d_model" not in raw:
        if raw.get("model_type") != "mamba":
            _refuse("model_type must be 'mamba'", raw.get("model_type"))
        return _config({**DEFAULTS, **raw}, {})
    return _config(*_of_authors(raw))


def write_mamba_config(config: GriffinConfig, dtype: str) -> dict:
    """A `config.json` of `transformers`.

    Args:
        config: of a model whose only mixer is `mamba`.
        dtype: of its variables.

    Returns:
        The contents, without the ids of special tokens.

    Raises:
        ValueError: `transformers` does not support the model; the message names the field.
    """
    mixer = config.mixer_class("mamba")
    for holds, rule, received in (
        (mixer is Mamba, "the mixer mamba must be Mamba", mixer.__name__),
        (config.mlp_width == 0, "mlp_width must be 0", config.mlp_width),
        (not config.scale_embeddings, "scale_embeddings must be False", config.scale_embeddings),
        (config.logits_soft_cap is None, "logits_soft_cap must be None", config.logits_soft_cap),
        (config.norm == "rms", "norm must be rms", config.norm),
        (not config.embedding_norm, "embedding_norm must be False", config.embedding_norm),
        (config.tie_embeddings, "tie_embeddings must be True", config.tie_embeddings),
    ):
        if not holds:
            raise ValueError(f"save_huggingface: {rule} for transformers' Mamba. Got {received}.")
    layer: Any = Mamba(**config.mixer_arguments("mamba"))
    return {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
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
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def _config(values, names) -> GriffinConfig:
    """The config of the values of `transformers`, which may have other names in messages."""
    names = {name: names.get(name, name) for name in values}
    for name, needed in {"hidden_act": "silu", "use_bias": False, "use_conv_bias": True}.items():
        if values[name] != needed:
            _refuse(f"{names[name]} must be {_json(needed)}", values[name])
    if not values["tie_word_embeddings"]:
        _refuse("tie_word_embeddings must be true", values["tie_word_embeddings"])
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "state_size", "expand", "conv_kernel"):
        if not COUNT.holds(values[name]):
            _refuse(f"{names[name]} must be an integer of at least 1", values[name])
    width, expand = values["hidden_size"], values["expand"]
    own_rank, rank = math.ceil(width / 16), values["time_step_rank"]
    rank = own_rank if rank == "auto" else rank
    if not COUNT.holds(rank):
        _refuse(f"{names['time_step_rank']} must be 'auto' or an integer of at least 1", rank)
    if values.get("intermediate_size", expand * width) != expand * width:
        _refuse(f"intermediate_size must be expand * hidden_size, {expand * width}", values["intermediate_size"])
    if not POSITIVE.holds(values["layer_norm_epsilon"]):
        _refuse("layer_norm_epsilon must be a positive number", values["layer_norm_epsilon"])
    options = {
        "state_size": (values["state_size"], 16),
        "expand": (expand, 2),
        "conv_kernel_size": (values["conv_kernel"], 4),
        "rank": (rank, own_rank),
    }
    given = {name: value for name, (value, default) in options.items() if value != default}
    return GriffinConfig(
        vocabulary_size=values["vocab_size"],
        width=width,
        num_layers=values["num_hidden_layers"],
        num_heads=1,
        block_pattern=("mamba",),
        mlp_width=0,
        norm_epsilon=values["layer_norm_epsilon"],
        mixer_options={"mamba": given} if given else {},
    )


def _of_authors(raw) -> tuple[dict, dict[str, str]]:
    """The values of `transformers`, and their names in the authors' config."""
    ssm = raw.get("ssm_cfg") or {}
    if not isinstance(ssm, Mapping):
        _refuse("ssm_cfg must be an object", ssm)
    if ssm.get("layer", "Mamba1") != "Mamba1":
        _refuse("the layer of ssm_cfg must be 'Mamba1'", ssm["layer"])
    for name, needed in AUTHORS_FIXED.items():
        if raw.get(name, needed) != needed:
            _refuse(f"{name} must be {_json(needed)}", raw[name])
    multiple = raw.get("pad_vocab_size_multiple", 1)
    if not COUNT.holds(multiple):
        _refuse("pad_vocab_size_multiple must be an integer of at least 1", multiple)
    values, names = dict(DEFAULTS), {}
    for source, table in ((raw, AUTHORS), (ssm, AUTHORS_SSM)):
        for name, (theirs, default) in table.items():
            values[name], names[name] = source.get(theirs, default), theirs
    if COUNT.holds(values["vocab_size"]):
        values["vocab_size"] = multiple * math.ceil(values["vocab_size"] / multiple)
    return values, names


def _json(value) -> str:
    return repr(value).lower() if isinstance(value, bool) else repr(value)


def _refuse(rule, received) -> NoReturn:
    refuse_config(NAME, rule, received)
