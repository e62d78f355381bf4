"""Load RWKV-4's weights, in the format of `transformers` or of its authors."""

import os
from pathlib import Path
from typing import Any

import keras

from keras_griffin.conversion.checkpoint import open_checkpoint
from keras_griffin.conversion.config_entries import read_entries
from keras_griffin.conversion.foreign import Model, build_model, find_naming
from keras_griffin.conversion.namings import RWKV_AUTHORS, RWKV_HUGGING_FACE
from keras_griffin.conversion.rwkv_config import NAME, infer_rwkv_config, read_rwkv_config
from keras_griffin.models import LanguageModel

#: By a tensor that marks the format: an embedding called `emb` alone could be anybody's.
NAMINGS = {"rwkv.blocks.0.attention.time_decay": RWKV_HUGGING_FACE, "blocks.0.att.time_decay": RWKV_AUTHORS}


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
    cls: type[Model], path: str | os.PathLike, dtype: str | keras.DTypePolicy | None, name: str | None, overrides: dict
) -> Model:
    """`load_rwkv`, for a model of the class `cls`."""
    path = Path(path)
    tensors = open_checkpoint(path)
    naming = find_naming(NAME, NAMINGS, path, tensors)
    if naming is RWKV_HUGGING_FACE:
        config = read_rwkv_config(read_entries(NAME, path))
    else:
        config = infer_rwkv_config(tensors)
    return build_model(cls, NAME, path, tensors, naming, config.replace(**overrides), dtype, name)
