"""RWKV-4: load its weights in the format of `transformers` or of its authors; read, write and infer its configs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_griffin.checks import COUNT
from keras_griffin.conversion import foreign
from keras_griffin.conversion.checkpoint import open_checkpoint
from keras_griffin.conversion.namings import RWKV_AUTHORS, RWKV_HUGGING_FACE
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.mixers import RWKV4Channel
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.models.presets import rwkv4_config

NAME = "load_rwkv"
#: By a tensor that marks the format: an embedding called `emb` alone could be anybody's.
NAMINGS = {"rwkv.blocks.0.attention.time_decay": RWKV_HUGGING_FACE, "blocks.0.att.time_decay": RWKV_AUTHORS}
#: The defaults of `transformers`.
DEFAULTS = {
    "vocab_size": 50277,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "attention_hidden_size": None,
    "intermediate_size": None,
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": False,
}
PATTERN = ("rwkv4", "rwkv4_channel")


def load_rwkv(
    path: str | os.PathLike, dtype: str | keras.DTypePolicy | None = None, *, name: str | None = None, **overrides: Any
) -> LanguageModel:
    """A model with the weights of a checkpoint of RWKV-4, as `transformers` or its authors' code saves it.

    Tensors are read one by one and rounded once, to the variables' dtype. A checkpoint of the authors has no config:
    its sizes are inferred from its shapes. Each of their blocks is two residual blocks here, `rwkv4` and
    `rwkv4_channel`.

    Args:
        path: a folder with `config.json` and `model.safetensors` or `pytorch_model.bin`, or with their shards; or, of
            the authors, a `.pth` file, or the same tensors in a `.safetensors` file.
        dtype: a dtype or a policy for every layer, such as `"bfloat16"` or `"mixed_bfloat16"`; None for Keras's.
        name: the model's name.
        **overrides: `GriffinConfig` fields that keep the shape of every weight.

    Returns:
        The model, with the tokenizer in the folder, or in that of the file.

    Raises:
        FileNotFoundError: the path does not exist.
        ImportError: PyTorch is needed but not installed.
        ValueError: a tensor is missing, unknown or has the wrong shape, the path is not a checkpoint, or its config
            describes a model other than RWKV-4.

    Examples:
        >>> import tempfile
        >>> from keras_griffin.conversion import load_rwkv, save_huggingface
        >>> from keras_griffin.models import LanguageModel
        >>> model = LanguageModel.from_preset("rwkv4_169m", vocabulary_size=64, width=16, num_layers=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_huggingface(model, f"{folder}/rwkv")
        ...     load_rwkv(f"{folder}/rwkv").config == model.config
        True

    Reference: Peng et al. 2023 (arXiv 2305.13048).
    """
    return load_rwkv_as(LanguageModel, path, dtype, name, overrides)


def load_rwkv_as(
    cls: type[foreign.Model], path: str | os.PathLike, dtype: Any, name: str | None, overrides: dict
) -> foreign.Model:
    """`load_rwkv`, for a model of the class `cls`."""
    path = Path(path)
    tensors = open_checkpoint(path)
    naming = foreign.find_naming(NAME, NAMINGS, path, tensors)
    if naming is RWKV_HUGGING_FACE:
        config = read_rwkv_config(foreign.read_entries(NAME, path))
    else:
        config = infer_rwkv_config(tensors)
    return foreign.build_model(cls, NAME, path, tensors, naming, config.replace(**overrides), dtype, name)


def read_rwkv_config(raw: Mapping) -> GriffinConfig:
    """The model that a `config.json` describes, with two residual blocks for each of theirs."""
    entries = foreign.Entries(NAME, {**DEFAULTS, **raw})
    entries.require_values(model_type="rwkv")
    entries.require_counts("vocab_size", "hidden_size", "num_hidden_layers")
    width = entries["hidden_size"]
    inner = 4 * width if entries["intermediate_size"] is None else entries["intermediate_size"]
    is_width = entries["attention_hidden_size"] in (None, width)
    entries.require(is_width, "attention_hidden_size", f"must be hidden_size, {width}")
    is_multiple = COUNT.holds(inner) and inner % width == 0
    entries.require(is_multiple, "intermediate_size", f"must be a multiple of hidden_size, {width}")
    # The last norm of `transformers` has this epsilon whatever the config says.
    entries.require_values(layer_norm_epsilon=1e-5, tie_word_embeddings=False)
    return rwkv4_config(entries["vocab_size"], width, entries["num_hidden_layers"], inner // width)


def infer_rwkv_config(tensors: Mapping[str, StoredTensor]) -> GriffinConfig:
    """The sizes of a checkpoint of the authors' code, which has no config."""
    vocabulary_size, width = foreign.shape_of(NAME, tensors, "emb.weight", 2)
    inner, _ = foreign.shape_of(NAME, tensors, "blocks.0.ffn.key.weight", 2)
    if inner % width:
        raise ValueError(f"{NAME}: blocks.0.ffn.key.weight must have a multiple of {width} rows. Got {inner}.")
    num_layers = sum(name.endswith(".att.time_decay") for name in tensors)
    return rwkv4_config(vocabulary_size, width, max(num_layers, 1), inner // width)


def write_rwkv_config(config: GriffinConfig, dtype: str) -> dict:
    """A `config.json` of `transformers`, without the ids of special tokens, for a model of `PATTERN`."""
    alternates = config.num_layers % 2 == 0 and config.mixer_names == PATTERN * (config.num_layers // 2)
    foreign.require_saveable(
        "transformers' RWKV",
        config,
        (alternates, "the layers must be rwkv4 and rwkv4_channel in turn", ", ".join(config.mixer_names)),
        **{"mlp_width": 0, "scale_embeddings": False, "logits_soft_cap": None},
        **{"norm": "layer", "norm_epsilon": 1e-5, "embedding_norm": True, "tie_embeddings": False},
    )
    expand = RWKV4Channel(**config.mixer_arguments("rwkv4_channel")).expand
    return {
        **foreign.common_entries("RwkvForCausalLM", "rwkv", config, dtype),
        "attention_hidden_size": config.width,
        "intermediate_size": expand * config.width,
        "num_hidden_layers": config.num_layers // 2,
        "layer_norm_epsilon": config.norm_epsilon,
        "context_length": 1024,
        "rescale_every": 6,
        "tie_word_embeddings": False,
    }
