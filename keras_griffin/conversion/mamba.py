"""Mamba: load its weights in the format of `transformers` or of its authors; read and write its configs."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.conversion import foreign
from keras_griffin.conversion.checkpoint import open_checkpoint
from keras_griffin.conversion.namings import MAMBA_AUTHORS, MAMBA_HUGGING_FACE
from keras_griffin.mixers import Mamba
from keras_griffin.models import GriffinConfig, LanguageModel

NAME = "load_mamba"
#: By the embedding's name, which the two formats don't share.
NAMINGS = {naming.embedding: naming for naming in (MAMBA_HUGGING_FACE, MAMBA_AUTHORS)}
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


def load_mamba(
    path: str | os.PathLike, dtype: str | keras.DTypePolicy | None = None, *, name: str | None = None, **overrides: Any
) -> LanguageModel:
    """A model with the weights of a checkpoint of Mamba, as `transformers` or its authors' `mamba-ssm` saves it.

    Tensors are read one by one and rounded once, to the variables' dtype. A norm's scale is stored here minus one: in
    bfloat16 and float16, scales below 1/2 lose bits that `"mixed_bfloat16"` keeps.

    Args:
        path: a folder with `config.json` and `model.safetensors` or `pytorch_model.bin`, or with their shards; or the
            file of weights in such a folder.
        dtype: a dtype or a policy for every layer, such as `"bfloat16"` or `"mixed_bfloat16"`; None for Keras's.
        name: the model's name.
        **overrides: `GriffinConfig` fields. The vocabulary is that of the embedding's table, whose last rows may belong
            to no token; with a smaller `vocabulary_size`, its first rows are taken.

    Returns:
        The model, with the tokenizer in the folder, or in that of the file.

    Raises:
        FileNotFoundError: the path does not exist.
        ImportError: PyTorch is needed but not installed.
        ValueError: a tensor is missing, unknown or has the wrong shape, the path is not a checkpoint, or its config
            describes a model other than Mamba.

    Examples:
        >>> import tempfile
        >>> from keras_griffin.conversion import load_mamba, save_huggingface
        >>> from keras_griffin.models import GriffinConfig, LanguageModel
        >>> config = GriffinConfig(
        ...     vocabulary_size=64, width=16, num_layers=2, num_heads=1, block_pattern=("mamba",), mlp_width=0
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_huggingface(LanguageModel(config), f"{folder}/mamba")
        ...     model = load_mamba(f"{folder}/mamba")
        >>> model.config == config
        True

    Reference: Gu and Dao 2023 (arXiv 2312.00752).
    """
    return load_mamba_as(LanguageModel, path, dtype, name, overrides)


def load_mamba_as(
    cls: type[foreign.Model], path: str | os.PathLike, dtype: Any, name: str | None, overrides: dict
) -> foreign.Model:
    """`load_mamba`, for a model of the class `cls`."""
    path = Path(path)
    tensors = open_checkpoint(path)
    naming = foreign.find_naming(NAME, NAMINGS, path, tensors)
    config = read_mamba_config(foreign.read_entries(NAME, path))
    config = config.replace(vocabulary_size=max([config.vocabulary_size, *tensors[naming.embedding].shape[:1]]))
    tensors = foreign.without_copy_of_embedding(NAME, tensors, naming)
    return foreign.build_model(cls, NAME, path, tensors, naming, config.replace(**overrides), dtype, name)


def read_mamba_config(raw: Mapping) -> GriffinConfig:
    """The model that a `config.json` describes, of `transformers`, or of the authors' code without a `model_type`."""
    if "model_type" not in raw and "d_model" in raw:
        entries = _of_authors(raw)
    else:
        entries = foreign.Entries(NAME, {**DEFAULTS, **raw})
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


def _of_authors(raw) -> foreign.Entries:
    """The authors' entries under the names of `transformers`."""
    ssm, multiple = raw.get("ssm_cfg") or {}, raw.get("pad_vocab_size_multiple", 1)
    theirs = foreign.Entries(NAME, {**AUTHORS_FIXED, **raw, "ssm_cfg": ssm, "pad_vocab_size_multiple": multiple})
    theirs.require(isinstance(ssm, Mapping), "ssm_cfg", "must be an object")
    foreign.Entries(NAME, {"layer": "Mamba1", **ssm}, {"layer": "the layer of ssm_cfg"}).require_values(layer="Mamba1")
    theirs.require_values(**AUTHORS_FIXED)
    theirs.require_counts("pad_vocab_size_multiple")
    entries, names = dict(DEFAULTS), {}
    for source, table in ((raw, AUTHORS), (ssm, AUTHORS_SSM)):
        for name, (their_name, default) in table.items():
            entries[name], names[name] = source.get(their_name, default), their_name
    if COUNT.holds(entries["vocab_size"]):
        entries["vocab_size"] = multiple * math.ceil(entries["vocab_size"] / multiple)
    return foreign.Entries(NAME, entries, names)


def write_mamba_config(config: GriffinConfig, dtype: str) -> dict:
    """A `config.json` of `transformers`, without the ids of special tokens, for a model whose only mixer is `mamba`."""
    mixer = config.mixer_class("mamba")
    foreign.require_saveable(
        "transformers' Mamba",
        config,
        (mixer is Mamba, "the mixer mamba must be Mamba", mixer.__name__),
        **{"mlp_width": 0, "scale_embeddings": False, "logits_soft_cap": None},
        **{"norm": "rms", "embedding_norm": False, "tie_embeddings": True},
    )
    layer: Any = Mamba(**config.mixer_arguments("mamba"))
    return {
        **foreign.common_entries("MambaForCausalLM", "mamba", config, dtype),
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
