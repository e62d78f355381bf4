"""Load RecurrentGemma's weights in any published format."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_griffin.conversion.checkpoint import open_checkpoint
from keras_griffin.conversion.deepmind_config import infer_config
from keras_griffin.conversion.foreign import (
    build_model,
    read_config_beside,
    refuse_tensors,
    without_copy_of_embedding,
)
from keras_griffin.conversion.huggingface_config import read_config
from keras_griffin.conversion.namings import DEEPMIND_FLAX, DEEPMIND_TORCH, HUGGING_FACE, Naming
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.models import Griffin

NAME = "load_recurrentgemma"


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
    naming = find_naming(tensors, path)
    if naming is HUGGING_FACE:
        config = read_config(read_config_beside(NAME, path))
        tensors = without_copy_of_embedding(NAME, tensors, naming)
    else:
        config = infer_config(tensors, naming)
    return build_model(Griffin, NAME, path, tensors, naming, config.replace(**overrides), dtype, name)


def find_naming(tensors: Mapping[str, StoredTensor], path: Path) -> Naming:
    """The naming that the tensors follow.

    Raises:
        ValueError: none of them.
    """
    if HUGGING_FACE.embedding in tensors:
        return HUGGING_FACE
    if DEEPMIND_FLAX.embedding in tensors:
        is_flax = any(name.endswith(".ffw_down.kernel") for name in tensors)
        return DEEPMIND_FLAX if is_flax else DEEPMIND_TORCH
    refuse_tensors(NAME, (HUGGING_FACE.embedding, DEEPMIND_FLAX.embedding), path, tensors)
