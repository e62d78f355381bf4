"""Read and write the `config.json` of a RecurrentGemma for `transformers`, in the spellings of all its versions."""

from collections.abc import Mapping

from keras_griffin.checks import is_number
from keras_griffin.conversion.config_entries import Entries, common_entries, require_fields, require_saveable
from keras_griffin.models import GriffinConfig

NAME = "load_recurrentgemma"
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
    """The model that a `config.json` describes; the window includes the query's own key, as in `transformers` 5."""
    entries = Entries(NAME, {**DEFAULTS, **raw})
    entries.require_values(model_type="recurrent_gemma", hidden_activation="gelu_pytorch_tanh", attention_bias=False)
    entries.require_counts("hidden_size", "num_attention_heads", "intermediate_size")
    is_even = entries["intermediate_size"] % 2 == 0
    entries.require(is_even, "intermediate_size", "must be even: it is twice the MLP's width")
    for name in ("rms_norm_eps", "logits_soft_cap"):
        entries.require(is_number(entries[name]), name, "must be a number")
    width, num_heads = entries["hidden_size"], entries["num_attention_heads"]
    base, fraction = _rotation(entries)
    return GriffinConfig(
        vocabulary_size=entries["vocab_size"],
        width=width,
        num_layers=entries["num_hidden_layers"],
        num_heads=num_heads,
        mlp_width=entries["intermediate_size"] // 2,
        recurrence_width=_given(raw, "lru_width", width),
        head_dim=_given(raw, "head_dim", width // num_heads),
        num_key_value_heads=_given(raw, "num_key_value_heads", num_heads),
        window=entries["attention_window_size"],
        conv_kernel_size=entries["conv1d_width"],
        block_pattern=_block_pattern(entries),
        num_gate_blocks=num_heads,
        decay_initializer="ring",
        rotary_fraction=fraction,
        rotary_base=base,
        scale_embeddings=True,
        logits_soft_cap=entries["logits_soft_cap"],
        norm_epsilon=entries["rms_norm_eps"],
    )


def _given(entries, name, otherwise):
    return otherwise if entries.get(name) is None else entries[name]


def _block_pattern(entries) -> tuple[str, ...]:
    types = _given(entries, "block_types", _given(entries, "_block_types", BLOCK_TYPES))
    entries["block_types"] = types
    is_known = isinstance(types, list | tuple) and types and all(name in list(MIXERS) for name in types)
    entries.require(is_known, "block_types", f"must be a list of {' and '.join(MIXERS)}")
    return tuple(MIXERS[name] for name in types)


def _rotation(entries) -> tuple[float, float]:
    """The base and the rotated fraction: in `rope_parameters` since `transformers` 5, at the top level before."""
    nested = _given(entries, "rope_parameters", _given(entries, "rope_scaling", {}))
    entries["rope_parameters"] = nested
    is_default = isinstance(nested, Mapping) and nested.get("rope_type", nested.get("type", "default")) == "default"
    entries.require(is_default, "rope_parameters", "must be of rope_type 'default'")
    defaults = {"rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    values = Entries(NAME, {name: _given(nested, name, _given(entries, name, defaults[name])) for name in defaults})
    for name in values:
        values.require(is_number(values[name]), name, "must be a number")
    return float(values["rope_theta"]), float(values["partial_rotary_factor"])


def write_config(config: GriffinConfig, dtype: str) -> dict:
    """A `config.json` in the spellings of `transformers` 5 and 4, without the ids of special tokens."""
    family = "transformers"
    block_types = {ours: theirs for theirs, ours in MIXERS.items()}
    mixers = sorted(set(config.mixer_names))
    has_recurrence = "recurrent" in mixers
    rule = "block_pattern must be of recurrent and local_mqa, or of mamba alone,"
    require_saveable(set(mixers) <= set(block_types), rule, family, ", ".join(mixers))
    require_saveable(not config.mixer_options, "mixer_options must be empty", family, config.mixer_options)
    require_fields(config, family, scale_embeddings=True, norm="rms", embedding_norm=False, tie_embeddings=True)
    for holds, rule, received in (
        (config.logits_soft_cap is not None, "logits_soft_cap must be a number", config.logits_soft_cap),
        (config.mlp_width > 0, "mlp_width must be at least 1", config.mlp_width),
        (
            config.num_gate_blocks == config.num_heads or not has_recurrence,
            f"num_gate_blocks must be num_heads, {config.num_heads},",
            config.num_gate_blocks,
        ),
    ):
        require_saveable(holds, rule, family, received)
    rotation = {"rope_theta": config.rotary_base, "partial_rotary_factor": config.rotary_fraction}
    # `transformers` repeats the pattern at most a hundred times.
    is_long = config.num_layers > 100 * len(config.block_pattern)
    pattern = config.mixer_names if is_long else config.block_pattern
    return {
        **common_entries("RecurrentGemmaForCausalLM", "recurrent_gemma", config, dtype),
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
        "rope_parameters": {**rotation, "rope_type": "default"},
        **rotation,
    }
