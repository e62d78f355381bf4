"""Mamba and Mamba-2: what sets them apart, and their loaders."""

import math
import os
from typing import Any

import keras

from keras_griffin.checks import COUNT
from keras_griffin.conversion import foreign
from keras_griffin.conversion.mamba_family import MambaFamily
from keras_griffin.layers.heads import number_of_heads
from keras_griffin.mixers import Mamba, Mamba2
from keras_griffin.models import LanguageModel

#: The entries that both have in `transformers`, with their defaults there.
DEFAULTS = {
    **{"expand": 2, "conv_kernel": 4, "layer_norm_epsilon": 1e-5},
    **{"hidden_act": "silu", "use_bias": False, "use_conv_bias": True},
}


def _read_mamba(entries: foreign.Entries) -> dict[str, tuple[Any, Any]]:
    """The options of `Mamba`, each with its default."""
    width = entries["hidden_size"]
    own_rank, rank = math.ceil(width / 16), entries["time_step_rank"]
    rank = own_rank if rank == "auto" else rank
    entries.require(COUNT.holds(rank), "time_step_rank", f"must be 'auto' or {COUNT.words}")
    inner = entries["expand"] * width
    is_inner = entries.get("intermediate_size", inner) == inner
    entries.require(is_inner, "intermediate_size", f"must be expand * hidden_size, {inner}")
    return {"state_size": (entries["state_size"], 16), "rank": (rank, own_rank)}


def _write_mamba(layer: Mamba, width: int) -> dict[str, Any]:
    return {"intermediate_size": layer.expand * width, "time_step_rank": layer.rank or math.ceil(width / 16)}


def _read_mamba2(entries: foreign.Entries) -> dict[str, tuple[Any, Any]]:
    """The options of `Mamba2`, each with its default."""
    entries.require_counts("head_dim", "n_groups")
    inner, channels, groups = entries["expand"] * entries["hidden_size"], entries["head_dim"], entries["n_groups"]
    entries.require(inner % channels == 0, "head_dim", f"must divide expand * hidden_size, {inner}")
    num_heads = inner // channels
    fits = entries.get("num_heads", num_heads) == num_heads
    entries.require(fits, "num_heads", f"must be expand * hidden_size / head_dim, {num_heads}")
    entries.require(num_heads % groups == 0, "n_groups", f"must divide the number of heads, {num_heads}")
    entries.require_values(rms_norm=True)
    limits = entries["time_step_limit"]
    # `transformers` writes infinity as an object.
    has_none = isinstance(limits, list | tuple) and [*limits] in ([0.0, math.inf], [0.0, {"__float__": "Infinity"}])
    entries.require(has_none, "time_step_limit", "must be [0.0, Infinity]")
    own_heads = number_of_heads("Mamba2", None, inner, 64)
    options = {"state_size": (entries["state_size"], 128), "num_heads": (num_heads, own_heads)}
    return {**options, "groups": (groups, 1)}


def _write_mamba2(layer: Mamba2, width: int) -> dict[str, Any]:
    inner = layer.expand * width
    num_heads = number_of_heads("Mamba2", layer.num_heads, inner, 64)
    return {"num_heads": num_heads, "head_dim": inner // num_heads, "n_groups": layer.groups}


MAMBA = MambaFamily(
    title="Mamba",
    function_name="load_mamba",
    architecture="MambaForCausalLM",
    model_type="mamba",
    mixer_name="mamba",
    mixer=Mamba,
    defaults={
        **DEFAULTS,
        **{"vocab_size": 50280, "hidden_size": 768, "num_hidden_layers": 32},
        **{"state_size": 16, "time_step_rank": "auto", "tie_word_embeddings": True},
    },
    authors_layer="Mamba1",
    authors_ssm={"state_size": ("d_state", 16), "time_step_rank": ("dt_rank", "auto")},
    authors_ssm_fixed={},
    read_options=_read_mamba,
    write_options=_write_mamba,
)
MAMBA2 = MambaFamily(
    title="Mamba-2",
    function_name="load_mamba2",
    architecture="Mamba2ForCausalLM",
    model_type="mamba2",
    mixer_name="mamba2",
    mixer=Mamba2,
    defaults={
        **DEFAULTS,
        **{"vocab_size": 32768, "hidden_size": 4096, "num_hidden_layers": 64},
        **{"state_size": 128, "head_dim": 64, "n_groups": 8, "tie_word_embeddings": False},
        **{"rms_norm": True, "time_step_limit": (0.0, math.inf)},
    },
    authors_layer="Mamba2",
    authors_ssm={
        **{"state_size": ("d_state", 128), "head_dim": ("headdim", 64), "n_groups": ("ngroups", 1)},
        **{"rms_norm": ("rmsnorm", True), "time_step_limit": ("dt_limit", (0.0, math.inf))},
    },
    authors_ssm_fixed={"norm_before_gate": False, "D_has_hdim": False, "d_ssm": None},
    read_options=_read_mamba2,
    write_options=_write_mamba2,
)


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
    return MAMBA.load(LanguageModel, path, dtype, name, overrides)


def load_mamba2(
    path: str | os.PathLike, dtype: str | keras.DTypePolicy | None = None, *, name: str | None = None, **overrides: Any
) -> LanguageModel:
    """A model with the weights of a checkpoint of Mamba-2, as `transformers` or its authors' `mamba-ssm` saves it.

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
            describes a model other than Mamba-2, or one with a head of its own, biases, a norm before the gate,
            or limits of the steps.

    Examples:
        >>> import tempfile
        >>> from keras_griffin.conversion import load_mamba2, save_huggingface
        >>> from keras_griffin.models import GriffinConfig, LanguageModel
        >>> config = GriffinConfig(
        ...     vocabulary_size=64, width=16, num_layers=2, num_heads=1, block_pattern=("mamba2",), mlp_width=0
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_huggingface(LanguageModel(config), f"{folder}/mamba2")
        ...     model = load_mamba2(f"{folder}/mamba2")
        >>> model.config == config
        True

    Reference: Dao and Gu 2024 (arXiv 2405.21060).
    """
    return MAMBA2.load(LanguageModel, path, dtype, name, overrides)
