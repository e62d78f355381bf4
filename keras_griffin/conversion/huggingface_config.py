"""Read and write the `config.json` of a RecurrentGemma for `transformers`, in the spellings of all its versions."""

from collections.abc import Mapping
from typing import NoReturn

from keras_griffin.checks import COUNT, is_number
from keras_griffin.conversion.foreign import refuse_config
from keras_griffin.models import GriffinConfig

#: The defaults of `transformers`. (Its default of `num_key_value_heads` is the number of heads.)
DEFAULTS = {
    "vocab_size": 256_000,
    "hidden_size": 2560,
    "num_hidden_layers": 26,
    "num_attention_heads": 10,
    "intermediate_size": 7680,
    "attention_window_size": 2048,
    "conv1d_width": 4,
    "logits_soft_cap": 30.0,
    "rms_norm_eps": 1e-6,
    "hidden_activation": "gelu_pytorch_tanh",
    "attention_bias": False,
}
#: The names of mixers, theirs and ours.
MIXERS = {"recurrent": "recurrent", "attention": "local_mqa"}
BLOCK_TYPES = ("recurrent", "recurrent", "attention")


def read_config(raw: Mapping) -> GriffinConfig:
    """The model that a `config.json` describes.

    Args:
        raw: the parsed JSON.

    Returns:
        The `GriffinConfig`. Its window counts keys as `transformers` 5 does, including the query's own.

    Raises:
        ValueError: it is of a different model, or this package does not support it.
    """
    if raw.get("model_type") != "recurrent_gemma":
        _refuse("model_type must be 'recurrent_gemma'", raw.get("model_type"))
    values = {**DEFAULTS, **raw}
    if values["hidden_activation"] != "gelu_pytorch_tanh":
        _refuse("hidden_activation must be 'gelu_pytorch_tanh'", values["hidden_activation"])
    if values["attention_bias"]:
        _refuse("attention_bias must be false", values["attention_bias"])
    for name in ("hidden_size", "num_attention_heads", "intermediate_size"):
        if not COUNT.holds(values[name]):
            _refuse(f"{name} must be an integer of at least 1", values[name])
    if values["intermediate_size"] % 2:
        _refuse("intermediate_size, twice the MLP's width, must be even", values["intermediate_size"])
    for name in ("rms_norm_eps", "logits_soft_cap"):
        if not is_number(values[name]):
            _refuse(f"{name} must be a number", values[name])
    width, num_heads = values["hidden_size"], values["num_attention_heads"]
    base, fraction = _rotation(raw)
    return GriffinConfig(
        vocabulary_size=values["vocab_size"],
        width=width,
        num_layers=values["num_hidden_layers"],
        num_heads=num_heads,
        mlp_width=values["intermediate_size"] // 2,
        recurrence_width=_given(raw, "lru_width", width),
        head_dim=_given(raw, "head_dim", width // num_heads),
        num_key_value_heads=_given(raw, "num_key_value_heads", num_heads),
        window=values["attention_window_size"],
        conv_kernel_size=values["conv1d_width"],
        block_pattern=_block_pattern(raw),
        num_gate_blocks=num_heads,
        decay_initializer="ring",
        rotary_fraction=fraction,
        rotary_base=base,
        scale_embeddings=True,
        logits_soft_cap=values["logits_soft_cap"],
        norm_epsilon=values["rms_norm_eps"],
    )


def write_config(config: GriffinConfig, dtype: str) -> dict:
    """A `config.json` in the spelling of `transformers` 5, plus that of 4 where it differs.

    Args:
        config: of the model.
        dtype: of its variables.

    Returns:
        The contents, without the ids of special tokens.

    Raises:
        ValueError: `transformers` does not support the model; the message names the field.
    """
    block_types = {ours: theirs for theirs, ours in MIXERS.items()}
    mixers = sorted(set(config.mixer_names))
    has_recurrence = "recurrent" in mixers
    for holds, rule, received in (
        (
            set(mixers) <= set(block_types),
            "block_pattern must be of recurrent and local_mqa, or of mamba alone,",
            ", ".join(mixers),
        ),
        (not config.mixer_options, "mixer_options must be empty", config.mixer_options),
        (config.scale_embeddings, "scale_embeddings must be True", config.scale_embeddings),
        (config.logits_soft_cap is not None, "logits_soft_cap must be a number", config.logits_soft_cap),
        (config.norm == "rms", "norm must be rms", config.norm),
        (not config.embedding_norm, "embedding_norm must be False", config.embedding_norm),
        (config.tie_embeddings, "tie_embeddings must be True", config.tie_embeddings),
        (config.mlp_width > 0, "mlp_width must be at least 1", config.mlp_width),
        (
            config.num_gate_blocks == config.num_heads or not has_recurrence,
            f"num_gate_blocks must be num_heads, {config.num_heads},",
            config.num_gate_blocks,
        ),
    ):
        if not holds:
            raise ValueError(f"save_huggingface: {rule} for transformers. Got {received}.")
    rotation = {"rope_theta": config.rotary_base, "partial_rotary_factor": config.rotary_fraction}
    # `transformers` repeats the pattern at most a hundred times.
    is_long = config.num_layers > 100 * len(config.block_pattern)
    pattern = config.mixer_names if is_long else config.block_pattern
    return {
        "architectures": ["RecurrentGemmaForCausalLM"],
        "model_type": "recurrent_gemma",
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "intermediate_size": 2 * config.mlp_width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "lru_width": config.recurrence_width if has_recurrence else config.width,
        "attention_window_size": config.window,
        "conv1d_width": config.conv_kernel_size,
        "block_types": [block_types[name] for name in pattern],
        "logits_soft_cap": config.logits_soft_cap,
        "rms_norm_eps": config.norm_epsilon,
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "w_init_variance_scale": 0.01,
        "tie_word_embeddings": True,
        "use_cache": True,
        "rope_parameters": {**rotation, "rope_type": "default"},
        **rotation,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def _given(raw, name, otherwise):
    return otherwise if raw.get(name) is None else raw[name]


def _block_pattern(raw) -> tuple[str, ...]:
    types = _given(raw, "block_types", _given(raw, "_block_types", BLOCK_TYPES))
    if not isinstance(types, list | tuple) or not types or any(name not in list(MIXERS) for name in types):
        _refuse(f"block_types must be a list of {' and '.join(MIXERS)}", types)
    return tuple(MIXERS[name] for name in types)


def _rotation(raw) -> tuple[float, float]:
    """The base and the rotated fraction: in `rope_parameters` since `transformers` 5, at the top level before."""
    nested = _given(raw, "rope_parameters", _given(raw, "rope_scaling", {}))
    if not isinstance(nested, Mapping) or nested.get("rope_type", nested.get("type", "default")) != "default":
        _refuse("rope_parameters must be of rope_type 'default'", nested)
    outer = {"rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    outer |= {name: raw[name] for name in outer if raw.get(name) is not None}
    values = [_given(nested, name, outer[name]) for name in outer]
    if not all(is_number(value) for value in values):
        _refuse("rope_theta and partial_rotary_factor must be numbers", values)
    base, fraction = values
    return float(base), float(fraction)


def _refuse(rule, received) -> NoReturn:
    refuse_config("load_recurrentgemma", rule, received)
