"""What the loaders of all families share: from a checkpoint's tensors and a config to a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, TypeVar

import keras
import numpy as np

from keras_griffin.conversion.namings import Naming
from keras_griffin.files.json_object import read_json_object
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.layers.base.initialization import without_initialization
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.models.saving.preset_files import CONFIG, load_tokenizer_of
from keras_griffin.models.saving.weights import check_tensors, fill
from keras_griffin.models.weight_shapes import check_num_layers, weight_shapes

Model = TypeVar("Model", bound=LanguageModel)
#: Rows of the embedding that are compared at a time.
ROWS = 4096


def build_model(
    cls: type[Model],
    function_name: str,
    path: Path,
    tensors: Mapping[str, StoredTensor],
    naming: Naming,
    config: GriffinConfig,
    dtype: str | keras.DTypePolicy | None,
    name: str | None,
) -> Model:
    """The model of a config with a checkpoint's weights, and with the tokenizer beside them.

    Args:
        cls: the model's class.
        function_name: name for error messages.
        path: the checkpoint's folder or file.
        tensors: those of the checkpoint.
        naming: their names.
        config: of the model.
        dtype: as for `LanguageModel`.
        name: the model's name.

    Raises:
        ValueError: the tensors do not match the config; nothing is built then.
    """
    # Before anything is built: a bad config could require any amount of memory.
    check_num_layers(function_name, config, tensors)
    tensors = _cut_embedding(tensors, naming, config.vocabulary_size)
    tensors = as_variables(function_name, tensors, naming, config)
    with without_initialization():
        model = cls(config, dtype=dtype, name=name)
    fill(function_name, model, tensors)
    load_tokenizer_of(model, folder_of(path))
    return model


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


def without_copy_of_embedding(
    function_name: str, tensors: Mapping[str, StoredTensor], naming: Naming
) -> dict[str, StoredTensor]:
    """The tensors without the output head; logits use the embedding, so the head must be a copy of it.

    Args:
        function_name: name for error messages.
        tensors: those of the checkpoint, with the embedding.
        naming: their names.

    Raises:
        ValueError: the head has other values.
    """
    tensors = dict(tensors)
    head = tensors.pop("lm_head.weight", None)
    if head is None:
        return tensors
    embedding = tensors[naming.embedding]
    if tuple(head.shape) == tuple(embedding.shape):
        one, other = head.read(), embedding.read()
        rows = range(0, len(one), ROWS)
        if all(np.array_equal(one[row : row + ROWS], other[row : row + ROWS]) for row in rows):
            return tensors
    raise ValueError(f"{function_name}: lm_head.weight must equal {naming.embedding}. Got different values.")


def read_config_beside(function_name: str, path: Path) -> dict:
    """The `config.json` in a checkpoint's folder, or beside its file.

    Args:
        function_name: name for error messages.
        path: the checkpoint.

    Raises:
        ValueError: there is none, or it is not a JSON object.
    """
    folder = folder_of(path)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{function_name}: the folder must have a {CONFIG}. Got {str(folder)!r} without one.")
    return read_json_object(function_name, folder / CONFIG)


def folder_of(path: Path) -> Path:
    """A checkpoint's folder, or that of its file."""
    return path if path.is_dir() else path.parent


def refuse_config(function_name: str, rule: str, received: object) -> NoReturn:
    """Refuse a value of a `config.json`.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{function_name}: in config.json, {rule}. Got {received!r}.")


def refuse_tensors(
    function_name: str, names: tuple[str, ...], path: Path, tensors: Mapping[str, StoredTensor]
) -> NoReturn:
    """Refuse a checkpoint that has none of the tensors that identify the family.

    Raises:
        ValueError: always.
    """
    some = ", ".join([*list(tensors)[:3], *(["..."] if len(tensors) > 3 else [])])
    raise ValueError(
        f"{function_name}: the checkpoint must have the tensor {' or '.join(names)}. "
        f"Got {str(path)!r} with {len(tensors)} tensors: {some}."
    )


def _part(tensor, layout, place, shape) -> StoredTensor:
    return StoredTensor(shape, tensor.dtype, lambda: layout.split(tensor.read())[place])


def _cut_embedding(tensors, naming, vocabulary_size) -> dict[str, StoredTensor]:
    """Keep only the embedding's rows of real tokens: published tables are padded to a round number."""
    whole = tensors[naming.embedding]
    if len(whole.shape) != 2 or whole.shape[0] <= vocabulary_size:
        return tensors
    cut = StoredTensor((vocabulary_size, whole.shape[1]), whole.dtype, lambda: whole.read()[:vocabulary_size])
    return {**tensors, naming.embedding: cut}
