"""Load RecurrentGemma's weights in any published format."""

import os
from pathlib import Path
from typing import Any

import keras

from keras_griffin.conversion.checkpoint import open_checkpoint
from keras_griffin.conversion.config_entries import read_entries
from keras_griffin.conversion.deepmind_config import infer_config
from keras_griffin.conversion.foreign import build_model, find_naming, without_copy_of_embedding
from keras_griffin.conversion.huggingface_config import NAME, read_config
from keras_griffin.conversion.namings import DEEPMIND_FLAX, DEEPMIND_TORCH, HUGGING_FACE
from keras_griffin.models import Griffin

#: By the embedding's name, which both of DeepMind's implementations share.
NAMINGS = {naming.embedding: naming for naming in (HUGGING_FACE, DEEPMIND_TORCH)}


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
    naming = find_naming(NAME, NAMINGS, path, tensors)
    if naming is HUGGING_FACE:
        config = read_config(read_entries(NAME, path))
        tensors = without_copy_of_embedding(NAME, tensors, naming)
    else:
        if any(tensor_name.endswith(".ffw_down.kernel") for tensor_name in tensors):
            naming = DEEPMIND_FLAX
        config = infer_config(tensors, naming)
    return build_model(Griffin, NAME, path, tensors, naming, config.replace(**overrides), dtype, name)
