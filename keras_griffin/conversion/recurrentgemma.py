"""RecurrentGemma: load its weights in any published format; read and write its configs, or infer them from shapes."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_griffin.checks import is_number
from keras_griffin.conversion import foreign
from keras_griffin.conversion.checkpoint import open_checkpoint
from keras_griffin.conversion.namings import DEEPMIND_FLAX, DEEPMIND_TORCH, HUGGING_FACE, Naming
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.models import Griffin, GriffinConfig

NAME = "load_recurrentgemma"
#: By the embedding's name, which both of DeepMind's implementations share.
NAMINGS = {naming.embedding: naming for naming in (HUGGING_FACE, DEEPMIND_TORCH)}
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
#: Fields that no shape reveals, as in the RecurrentGemma release. DeepMind's window of 2048 excludes the query's own
#: key.
RELEASED: dict[str, Any] = {
    "window": 2049,
    "logits_soft_cap": 30.0,
    "scale_embeddings": True,
    "decay_initializer": "ring",
    "rotary_fraction": 0.5,
    "rotary_base": 10000.0,
    "norm_epsilon": 1e-6,
}


def load_recurrentgemma(
    path: str | os.PathLike, dtype: str | keras.DTypePolicy | None = None, *, name: str | None = None, **overrides: Any
) -> Griffin:
    """A model with the weights of a checkpoint of RecurrentGemma, or of another model with its architecture.

    Tensors are read one by one and rounded once, to the variables' dtype. A Hugging Face folder has a config, whose
    window counts keys as `transformers` 5 does, including the query's own. A DeepMind checkpoint has none: sizes are
    inferred from its shapes, and the rest is as released, with a window of one more key, as in DeepMind's code:
    `window=2049`, `logits_soft_cap=30.0`, `scale_embeddings=True`; pass other values as overrides.

    Args:
        path: a Hugging Face folder, or a `.safetensors` file in one; or, of DeepMind, a `.pt` file, an Orbax folder, or
            its tensors in a `.safetensors` or `.npz` file, by the dotted names of either of its implementations.
        dtype: a dtype or a policy for every layer, such as `"bfloat16"` or `"mixed_bfloat16"`; None for Keras's.
        name: the model's name.
        **overrides: `GriffinConfig` fields. With a smaller `vocabulary_size`, the embedding's first rows are taken.

    Returns:
        The model, with the tokenizer in the folder, or in that of the file.

    Raises:
        FileNotFoundError: the path does not exist.
        ImportError: PyTorch or Orbax is needed but not installed.
        ValueError: a tensor is missing, unknown or has the wrong shape, or the path is not a checkpoint.

    Reference: Botev et al. 2024 (arXiv 2404.07839).
    """
    path = Path(path)
    tensors = open_checkpoint(path)
    if all(tensor_name.startswith("params.") for tensor_name in tensors):
        tensors = {tensor_name.removeprefix("params."): tensor for tensor_name, tensor in tensors.items()}
    naming = foreign.find_naming(NAME, NAMINGS, path, tensors)
    if naming is HUGGING_FACE:
        config = read_config(foreign.read_entries(NAME, path))
        tensors = foreign.without_copy_of_embedding(NAME, tensors, naming)
    else:
        if any(tensor_name.endswith(".ffw_down.kernel") for tensor_name in tensors):
            naming = DEEPMIND_FLAX
        config = infer_config(tensors, naming)
    return foreign.build_model(Griffin, NAME, path, tensors, naming, config.replace(**overrides), dtype, name)


def read_config(raw: Mapping) -> GriffinConfig:
    """The model that a `config.json` describes; the window includes the query's own key, as in `transformers` 5."""
    entries = foreign.Entries(NAME, {**DEFAULTS, **raw})
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
    outer = {"rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    outer |= {name: entries[name] for name in outer if entries.get(name) is not None}
    values = foreign.Entries(NAME, {name: _given(nested, name, outer[name]) for name in outer})
    for name in values:
        values.require(is_number(values[name]), name, "must be a number")
    return float(values["rope_theta"]), float(values["partial_rotary_factor"])


def write_config(config: GriffinConfig, dtype: str) -> dict:
    """A `config.json` in the spellings of `transformers` 5 and 4, without the ids of special tokens."""
    block_types = {ours: theirs for theirs, ours in MIXERS.items()}
    mixers = sorted(set(config.mixer_names))
    has_recurrence = "recurrent" in mixers
    is_head = config.num_gate_blocks == config.num_heads or not has_recurrence
    pattern_rule = "block_pattern must be of recurrent and local_mqa, or of mamba alone,"
    foreign.require_saveable(
        "transformers",
        config,
        (set(mixers) <= set(block_types), pattern_rule, ", ".join(mixers)),
        (not config.mixer_options, "mixer_options must be empty", config.mixer_options),
        (config.logits_soft_cap is not None, "logits_soft_cap must be a number", None),
        (config.mlp_width > 0, "mlp_width must be at least 1", config.mlp_width),
        (is_head, f"num_gate_blocks must be num_heads, {config.num_heads},", config.num_gate_blocks),
        **{"scale_embeddings": True, "norm": "rms", "embedding_norm": False, "tie_embeddings": True},
    )
    rotation = {"rope_theta": config.rotary_base, "partial_rotary_factor": config.rotary_fraction}
    # `transformers` repeats the pattern at most a hundred times.
    is_long = config.num_layers > 100 * len(config.block_pattern)
    pattern = config.mixer_names if is_long else config.block_pattern
    return {
        **foreign.common_entries("RecurrentGemmaForCausalLM", "recurrent_gemma", config, dtype),
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


def infer_config(tensors: Mapping[str, StoredTensor], naming: Naming) -> GriffinConfig:
    """The config inferred from shapes of tensors in one of DeepMind's namings, with `RELEASED` for the rest."""
    weight = "kernel" if naming is DEEPMIND_FLAX else "weight"
    layers = {int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    is_attention = [f"blocks.{index}.attention_block.proj_k.{weight}" in tensors for index in sorted(layers)]
    if not layers or layers != set(range(len(layers))):
        raise ValueError(f"{NAME}: blocks must be numbered from 0. Got {sorted(layers)}.")
    pattern = shortest_pattern(["local_mqa" if attends else "recurrent" for attends in is_attention])
    vocabulary_size, width = foreign.shape_of(NAME, tensors, "embedder.input_embedding", 2)
    _, _, mlp_width = foreign.shape_of(NAME, tensors, "blocks.0.mlp_block.ffw_up.w", 3)
    sizes: dict[str, Any] = {"recurrence_width": width, "head_dim": None}
    if "local_mqa" in pattern:
        key = f"blocks.{pattern.index('local_mqa')}.attention_block.proj_k.{weight}"
        sizes["head_dim"] = foreign.shape_of(NAME, tensors, key, 2)[1 if naming is DEEPMIND_FLAX else 0]
        # The gates of a recurrent layer, if there is one, give the exact number.
        num_heads = width // sizes["head_dim"]
    if "recurrent" in pattern:
        block = f"blocks.{pattern.index('recurrent')}.recurrent_block"
        num_heads, *_ = foreign.shape_of(NAME, tensors, f"{block}.rg_lru.a_gate.w", 3)
        kernel_size, recurrence_width = foreign.shape_of(NAME, tensors, f"{block}.conv_1d.w", 2)
        sizes |= {"recurrence_width": recurrence_width, "conv_kernel_size": kernel_size}
    return GriffinConfig(
        vocabulary_size=vocabulary_size,
        width=width,
        num_layers=len(layers),
        num_heads=num_heads,
        mlp_width=mlp_width,
        num_gate_blocks=num_heads,
        block_pattern=pattern,
        **sizes,
        **RELEASED,
    )


def shortest_pattern(names: list[str]) -> tuple[str, ...]:
    """The shortest prefix of a list that, repeated and truncated, gives the list."""
    lengths = range(1, len(names) + 1)
    return tuple(next(names[:n] for n in lengths if all(name == names[i % n] for i, name in enumerate(names))))
