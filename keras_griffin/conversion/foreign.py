"""What all families share: from a checkpoint's tensors and a config to a model, and the entries of a `config.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from keras_griffin.checks import COUNT
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


def find_naming(
    function_name: str, marks: Mapping[str, Naming], path: Path, tensors: Mapping[str, StoredTensor]
) -> Naming:
    """The naming of a checkpoint, by the tensor that marks it; an error if the checkpoint has none of `marks`."""
    for mark, naming in marks.items():
        if mark in tensors:
            return naming
    some = ", ".join([*list(tensors)[:3], *(["..."] if len(tensors) > 3 else [])])
    raise ValueError(
        f"{function_name}: the checkpoint must have the tensor {' or '.join(marks)}. "
        f"Got {str(path)!r} with {len(tensors)} tensors: {some}."
    )


def shape_of(function_name: str, tensors: Mapping[str, StoredTensor], name: str, num_axes: int) -> tuple[int, ...]:
    """The shape of a tensor from which sizes are inferred; an error if it is missing, empty or has other axes."""
    shape = tuple(tensors[name].shape) if name in tensors else None
    if shape is None or len(shape) != num_axes or 0 in shape:
        raise ValueError(f"{function_name}: the checkpoint must have {name} with {num_axes} axes. Got {shape}.")
    return shape


def without_copy_of_embedding(
    function_name: str, tensors: Mapping[str, StoredTensor], naming: Naming
) -> dict[str, StoredTensor]:
    """The tensors without the output head; logits use the embedding, so a head with other values is an error."""
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
    """The model of a config with a checkpoint's weights, and with the tokenizer beside them."""
    # Before anything is built: a bad config could require any amount of memory.
    check_num_layers(function_name, config, tensors)
    embedding, rows = tensors[naming.embedding], config.vocabulary_size
    if len(embedding.shape) == 2 and embedding.shape[0] > rows:
        # Published tables are padded to a round number of rows.
        cut = StoredTensor((rows, embedding.shape[1]), embedding.dtype, lambda: embedding.read()[:rows])
        tensors = {**tensors, naming.embedding: cut}
    tensors = as_variables(function_name, tensors, naming, config)
    with without_initialization():
        model = cls(config, dtype=dtype, name=name)
    fill(function_name, model, tensors)
    load_tokenizer_of(model, folder_of(path))
    return model


def as_variables(
    function_name: str, tensors: Mapping[str, StoredTensor], naming: Naming, config: GriffinConfig
) -> dict[str, StoredTensor]:
    """Foreign tensors as those of a model's variables, by path; an error if they are not exactly the model's."""
    shapes = weight_shapes(config)
    foreign = naming.tensors(config.mixer_names)
    expected = {name: layout.shape(*(shapes[path] for path in paths)) for name, (layout, paths) in foreign.items()}
    check_tensors(function_name, expected, tensors)
    return {
        path: _part(tensors[name], layout, place, [shapes[path] for path in paths])
        for name, (layout, paths) in foreign.items()
        for place, path in enumerate(paths)
    }


def _part(tensor, layout, place, shapes) -> StoredTensor:
    return StoredTensor(shapes[place], tensor.dtype, lambda: layout.split(tensor.read(), *shapes)[place])


def folder_of(path: Path) -> Path:
    """A checkpoint's folder, or that of its file."""
    return path if path.is_dir() else path.parent


class Entries(dict):
    """The entries of a `config.json`, with checks; `names` are their names in the file where they differ."""

    def __init__(self, function_name: str, entries: Mapping, names: Mapping[str, str] | None = None):
        super().__init__(entries)
        self._function_name = function_name
        self._names = names or {}

    def require(self, holds: bool, name: str, rule: str) -> None:
        """Raise an error about an entry unless its rule holds."""
        if not holds:
            name, received = self._names.get(name, name), self.get(name)
            raise ValueError(f"{self._function_name}: in config.json, {name} {rule}. Got {received!r}.")

    def require_values(self, **values: Any) -> None:
        """Check that entries have these values; a flag that is null is false, as for `transformers`."""
        for name, value in values.items():
            if isinstance(value, bool):
                self.require((self.get(name) or False) == value, name, f"must be {str(value).lower()}")
            else:
                self.require(self.get(name) == value, name, f"must be {value!r}")

    def require_counts(self, *names: str) -> None:
        """Check that entries are integers of at least 1."""
        for name in names:
            self.require(COUNT.holds(self[name]), name, f"must be {COUNT.words}")


def read_entries(function_name: str, path: Path) -> dict:
    """The `config.json` in a checkpoint's folder, or beside its file; an error if there is none."""
    folder = folder_of(path)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{function_name}: the folder must have a {CONFIG}. Got {str(folder)!r} without one.")
    return read_json_object(function_name, folder / CONFIG)


def common_entries(architecture: str, model_type: str, config: GriffinConfig, dtype: str) -> dict:
    """The entries of every `config.json` of `transformers`."""
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def require_saveable(family: str, config: GriffinConfig, *rules: tuple[bool, str, object], **fields: Any) -> None:
    """Check what `transformers` supports: rules, whether they hold and what they are about, and values of fields."""
    for name, value in fields.items():
        received = getattr(config, name)
        rules = (*rules, (received == value, f"{name} must be {value}", received))
    for holds, rule, received in rules:
        if not holds:
            raise ValueError(f"save_huggingface: {rule} for {family}. Got {received}.")
