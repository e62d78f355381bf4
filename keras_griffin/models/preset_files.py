"""A model in a folder: how it is saved, and which folders can be loaded.

A preset is a folder with

    config.json           format and its version, the model's class, its `GriffinConfig`, and the dtype policy
    model.safetensors     the variables, by their paths, in their own dtype
    (tokenizer files)     what the tokenizer saves, where the model has one
"""

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from keras_griffin.files import SafeTensors, whole_folder, write_safetensors
from keras_griffin.layers.initialization import without_initialization
from keras_griffin.models.config import GriffinConfig
from keras_griffin.models.language_model import LanguageModel
from keras_griffin.models.weights import fill, stored
from keras_griffin.tokenizers import load_tokenizer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FORMAT = "keras_griffin"
VERSION = 1
#: What tokenizers save.
TOKENIZER_FILES = {"byte_tokenizer.json", "special_ids.json", "tokenizer.json", "tokenizer.model"}
#: Fields that change what a model computes but not the shape of any variable.
FREE_FIELDS = {
    *("window", "rotary_fraction", "rotary_base", "scale_embeddings", "logits_soft_cap", "norm_epsilon"),
    "decay_initializer",
}


class PresetFormat(NamedTuple):
    """A way in which a model may lie in a folder or a file."""

    #: Whether something, which exists, is of this format.
    recognises: Callable[[Path], bool]
    #: Gives the model: `load(path, cls, dtype, name, overrides)`.
    load: Callable[..., LanguageModel]


def save_to_preset(model: LanguageModel, directory: str | os.PathLike) -> None:
    """Save a model's config, weights and tokenizer in a folder, from which `from_preset` makes it again.

    Optimizer and losses are not in it; `model.save` keeps those. The folder is at every moment the old one or the
    whole new one.

    Args:
        model: any `LanguageModel`.
        directory: a folder that this function may replace, or a path where there is none.

    Raises:
        ValueError: the model is quantised or has LoRA, or the folder holds something else.
    """
    check_saveable("save_to_preset", model)
    # Nothing but the name distinguishes a LanguageModel from a Griffin, which `from_preset` makes.
    class_name = "Griffin" if type(model) is LanguageModel else type(model).__name__
    config = {
        "format": FORMAT,
        "format_version": VERSION,
        "class": class_name,
        "dtype": model.dtype_policy.name,
        "config": model.config.to_dict(),
    }
    tokenizer = model.tokenizer
    with whole_folder(directory, replaces={CONFIG, WEIGHTS, *TOKENIZER_FILES}) as folder:
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        write_safetensors(folder / WEIGHTS, {variable.path: stored(variable) for variable in model.weights})
        if tokenizer is not None:
            tokenizer.save(folder)


def check_saveable(function_name: str, model) -> None:
    """Refuse what is no language model, or has other variables than its config says."""
    if not isinstance(model, LanguageModel):
        raise ValueError(f"{function_name}: the model must be a LanguageModel. Got {model!r}.")
    if model.quantized_to is not None:
        raise ValueError(
            f"{function_name}: the model must not be quantised; model.save keeps one that is. "
            f"Got {model.quantized_to!r}."
        )
    if model.count_params() != model.config.parameter_count():
        raise ValueError(
            f"{function_name}: the model must have the {model.config.parameter_count()} parameters of its config, "
            f"so LoRA must be merged first. Got {model.count_params()}."
        )


def load_path(path: Path, cls: type, dtype, name: str | None, overrides: dict) -> LanguageModel:
    """The model in a folder or a file, by the first format of `FORMATS` that recognises it.

    Raises:
        ValueError: none does, or the model is no `cls`.
    """
    for preset_format in FORMATS:
        if preset_format.recognises(path):
            return preset_format.load(path, cls, dtype, name, overrides)
    raise ValueError(
        "from_preset: a path must lead to a folder that save_to_preset wrote, or to a checkpoint that "
        f"load_recurrentgemma reads; keras.saving.load_model loads .keras files. Got {str(path)!r}."
    )


def load_tokenizer_of(model: LanguageModel, folder: Path) -> None:
    """Give a model the tokenizer whose files lie in a folder, if there are any.

    Where the tokenizer's own package is missing, a warning says what to install: the model serves without.
    """
    try:
        model.tokenizer = load_tokenizer(folder)
    except ImportError as error:
        warnings.warn(f"The model is loaded without its tokenizer. {error}", stacklevel=2)


def _is_ours(path) -> bool:
    config = path / CONFIG
    if not config.is_file():
        return False
    try:
        content = json.loads(config.read_text("utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def _load_ours(path, cls, dtype, name, overrides) -> LanguageModel:
    content = json.loads((path / CONFIG).read_text("utf-8"))
    if content.get("format_version") != VERSION:
        raise ValueError(
            f"from_preset: format_version must be {VERSION} for this version of the package. "
            f"Got {content.get('format_version')!r} in {str(path)!r}."
        )
    found = _find_class(cls, content.get("class"))
    if found is None:
        raise ValueError(
            f"from_preset: the saved model must be a {cls.__name__}. Got {str(path)!r} with a {content.get('class')}."
        )
    fixed = sorted(set(overrides) - FREE_FIELDS)
    if fixed:
        raise ValueError(
            f"from_preset: beside saved weights, overrides must be among {', '.join(sorted(FREE_FIELDS))}. "
            f"Got {', '.join(fixed)}."
        )
    try:
        config = GriffinConfig(**content["config"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"from_preset: the config must be a GriffinConfig's. Got {str(path)!r}: {error}.") from error
    if not (path / WEIGHTS).is_file():
        raise ValueError(f"from_preset: a preset must hold {WEIGHTS}. Got {str(path)!r} without.")
    tensors = SafeTensors(path / WEIGHTS)
    with without_initialization():
        model = found(config.replace(**overrides), dtype=dtype or content.get("dtype"), name=name)
    fill("from_preset", model, {tensor: tensors.stored(tensor) for tensor in tensors})
    load_tokenizer_of(model, path)
    return model


def _find_class(cls, class_name) -> type | None:
    """The class of that name among a class and those made of it."""
    if cls.__name__ == class_name:
        return cls
    return next((found for below in cls.__subclasses__() if (found := _find_class(below, class_name))), None)


#: In the order in which they are asked. Those of other implementations stand above the models, in `conversion`, which
#: puts them here when the package is imported, so that models need not know them.
FORMATS = [PresetFormat(_is_ours, _load_ours)]
