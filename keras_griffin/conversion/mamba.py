"""Load Mamba's weights, in the format of `transformers` or of its authors."""

import os
from pathlib import Path
from typing import Any

import keras

from keras_griffin.conversion.checkpoint import open_checkpoint
from keras_griffin.conversion.config_entries import read_entries
from keras_griffin.conversion.foreign import Model, build_model, find_naming, without_copy_of_embedding
from keras_griffin.conversion.mamba_config import NAME, read_mamba_config
from keras_griffin.conversion.namings import MAMBA_AUTHORS, MAMBA_HUGGING_FACE
from keras_griffin.models import LanguageModel

#: By the embedding's name, which the two formats don't share.
NAMINGS = {naming.embedding: naming for naming in (MAMBA_HUGGING_FACE, MAMBA_AUTHORS)}


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
    cls: type[Model], path: str | os.PathLike, dtype: str | keras.DTypePolicy | None, name: str | None, overrides: dict
) -> Model:
    """`load_mamba`, for a model of the class `cls`."""
    path = Path(path)
    tensors = open_checkpoint(path)
    naming = find_naming(NAME, NAMINGS, path, tensors)
    config = read_mamba_config(read_entries(NAME, path))
    config = config.replace(vocabulary_size=max([config.vocabulary_size, *tensors[naming.embedding].shape[:1]]))
    tensors = without_copy_of_embedding(NAME, tensors, naming)
    return build_model(cls, NAME, path, tensors, naming, config.replace(**overrides), dtype, name)
