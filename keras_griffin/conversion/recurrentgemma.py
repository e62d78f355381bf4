"""Load RecurrentGemma's weights in any published format."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_griffin.conversion.checkpoint import open_checkpoint
from keras_griffin.conversion.deepmind_config import infer_config
from keras_griffin.conversion.huggingface_config import read_config
from keras_griffin.conversion.namings import DEEPMIND_FLAX, DEEPMIND_TORCH, HUGGING_FACE, Naming
from keras_griffin.files import StoredTensor
from keras_griffin.layers.initialization import without_initialization
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.preset_files import CONFIG, load_tokenizer_of, read_config_json
from keras_griffin.models.weight_shapes import check_num_layers, weight_shapes
from keras_griffin.models.weights import check_tensors, fill

#: Rows of the embedding that are compared at a time.
ROWS = 4096


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
        config = read_config(_read_json(path if path.is_dir() else path.parent))
        tensors = _without_copy_of_embedding(tensors, naming)
    else:
        config = infer_config(tensors, naming)
    config = config.replace(**overrides)
    # Before anything is built: a bad config could require any amount of memory.
    check_num_layers("load_recurrentgemma", config, tensors)
    tensors = _cut_embedding(tensors, naming, config.vocabulary_size)
    tensors = as_variables("load_recurrentgemma", tensors, naming, config)
    with without_initialization():
        model = Griffin(config, dtype=dtype, name=name)
    fill("load_recurrentgemma", model, tensors)
    load_tokenizer_of(model, path if path.is_dir() else path.parent)
    return model


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
    some = ", ".join([*list(tensors)[:3], *(["..."] if len(tensors) > 3 else [])])
    raise ValueError(
        f"load_recurrentgemma: the checkpoint must have the tensor {HUGGING_FACE.embedding} or "
        f"{DEEPMIND_FLAX.embedding}. Got {str(path)!r} with {len(tensors)} tensors: {some}."
    )


def as_variables(
    function_name: str, tensors: Mapping[str, StoredTensor], naming: Naming, config: GriffinConfig
) -> dict[str, StoredTensor]:
    """Convert foreign tensors to those of a model's variables, by the variables' paths.

    Args:
        function_name: name for error messages.
        tensors: the foreign ones.
        naming: their names.
        config: of the model.

    Raises:
        ValueError: they do not match such a model.
    """
    shapes = weight_shapes(config)
    foreign = naming.tensors(config.mixer_names)
    expected = {name: layout.shape(*(shapes[path] for path in paths)) for name, (layout, paths) in foreign.items()}
    check_tensors(function_name, expected, tensors)
    return {
        path: _part(tensors[name], layout, place, shapes[path])
        for name, (layout, paths) in foreign.items()
        for place, path in enumerate(paths)
    }


def _part(tensor, layout, place, shape) -> StoredTensor:
    return StoredTensor(shape, tensor.dtype, lambda: layout.split(tensor.read())[place])


def _read_json(folder: Path) -> dict:
    if not (folder / CONFIG).is_file():
        raise ValueError(f"load_recurrentgemma: the folder must have a {CONFIG}. Got {str(folder)!r} without one.")
    return read_config_json("load_recurrentgemma", folder)


def _without_copy_of_embedding(tensors, naming) -> dict[str, StoredTensor]:
    """The tensors without the output head; logits use the embedding, so the head must be a copy of it."""
    tensors = dict(tensors)
    head = tensors.pop("lm_head.weight", None)
    if head is None:
        return tensors
    embedding = tensors[naming.embedding]
    if tuple(head.shape) == tuple(embedding.shape):
        head, embedding = head.read(), embedding.read()
        rows = range(0, len(head), ROWS)
        if all(np.array_equal(head[row : row + ROWS], embedding[row : row + ROWS]) for row in rows):
            return tensors
    raise ValueError(f"load_recurrentgemma: lm_head.weight must equal {naming.embedding}. Got different values.")


def _cut_embedding(tensors, naming, vocabulary_size) -> dict[str, StoredTensor]:
    """Keep only the embedding's rows of real tokens: published tables are padded to a round number."""
    whole = tensors[naming.embedding]
    if len(whole.shape) != 2 or whole.shape[0] <= vocabulary_size:
        return tensors
    cut = StoredTensor((vocabulary_size, whole.shape[1]), whole.dtype, lambda: whole.read()[:vocabulary_size])
    return {**tensors, naming.embedding: cut}
