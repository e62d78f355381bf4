"""Presets: how a model is saved in a folder, and which folders can be loaded.

A preset is a folder with

    config.json                   format and version, the model's class and `GriffinConfig`, the
                                  dtype policy, and the quantisation, if any; with
                                  `"dequantize": true` the file alone is int8, not the model
    model.safetensors             the variables, by their paths, in their own dtypes
    keras_griffin_checksums.json  checksums of the files: see `keras_griffin.models.saving.checksums`
    (tokenizer files)             the tokenizer's files, if the model has one
"""

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras

from keras_griffin.files.atomic import atomic_folder
from keras_griffin.files.json_object import read_json_object
from keras_griffin.files.safetensors import SafeTensors, write_safetensors
from keras_griffin.layers.base.initialization import without_initialization
from keras_griffin.models.config import GriffinConfig
from keras_griffin.models.lora import check_no_lora
from keras_griffin.models.saving.checksums import CHECKSUMS, check_files, recorded, verified, write_checksums
from keras_griffin.models.saving.quantization import MODES, check_quantization, check_quantized_tensors, dequantized
from keras_griffin.models.saving.weights import check_tensors, fill, stored
from keras_griffin.models.training.first_batch import FirstBatch
from keras_griffin.models.weight_shapes import check_num_layers, weight_shapes
from keras_griffin.tokenizers.load_tokenizer import TOKENIZER_FILES, load_tokenizer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FORMAT = "keras_griffin"
VERSION = 1
#: The only names that an existing folder may contain when a preset is saved to it.
FILES = {CONFIG, WEIGHTS, CHECKSUMS, *TOKENIZER_FILES}


class PresetFormat(NamedTuple):
    """A format of a model in a folder or a file."""

    #: Whether an existing path has this format.
    recognises: Callable[[Path], bool]
    #: Returns the model: `load(path, cls, dtype, name, overrides, verify)`.
    load: Callable[..., keras.Model]


def save_to_preset(model: keras.Model, directory: str | os.PathLike) -> None:
    """Save a model's config, weights and tokenizer in a folder, from which `from_preset` loads it.

    Optimizer and losses are not included; `model.save` saves those. The folder is written atomically.

    Args:
        model: any `LanguageModel`.
        directory: a folder that this function may replace, or a path that does not exist yet.

    Raises:
        ValueError: the model has LoRA, or is quantised other than by `quantize("int8")` or `quantize("int4")`; the
            path is a file, or the folder contains something else.
    """
    check_is_whole("save_to_preset", model)
    check_quantization("save_to_preset", model)
    # A LanguageModel differs from a Griffin, which `from_preset` creates, only in its name.
    class_name = "Griffin" if type(model).__name__ == "LanguageModel" else type(model).__name__
    config = {
        "format": FORMAT,
        "format_version": VERSION,
        "checksums": CHECKSUMS,
        "class": class_name,
        "dtype": model.dtype_policy.name,
        "config": model.config.to_dict(),
    }
    if model.quantized_to is not None:
        config["quantized_to"] = model.quantized_to
    with atomic_folder(directory, replaces=FILES, function_name="save_to_preset") as folder:
        sums: dict[str, int] = {}
        write_safetensors(folder / WEIGHTS, recorded({each.path: stored(each) for each in model.weights}, sums))
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        if model.tokenizer is not None:
            model.tokenizer.save(folder)
        write_checksums(folder, SafeTensors(folder / WEIGHTS), sums)


def check_saveable(function_name: str, model) -> None:
    """Refuse anything but a language model with the variables of its config, not quantised."""
    check_is_whole(function_name, model)
    if model.quantized_to is not None:
        raise ValueError(
            f"{function_name}: the model must not be quantised; save_to_preset can save a quantised model. "
            f"Got {model.quantized_to!r}."
        )


def check_is_whole(function_name: str, model: keras.Model) -> None:
    """Refuse anything but a language model with the variables of its config."""
    # Models that share a language model's layers know it too.
    is_language_model = isinstance(model, FirstBatch) and model.known_language_model() is model
    if not is_language_model:
        raise ValueError(f"{function_name}: the model must be a LanguageModel. Got {model!r}.")
    check_no_lora(function_name, model)
    if model.quantized_to is None and model.count_params() != model.config.parameter_count():
        raise ValueError(
            f"{function_name}: the model must have the {model.config.parameter_count()} parameters of its config, "
            f"so LoRA must be merged first. Got {model.count_params()}."
        )


def load_path(path: Path, cls: type, dtype, name: str | None, overrides: dict, verify: bool = True) -> keras.Model:
    """The model in a folder or a file, by the first format of `FORMATS` that recognises it."""
    # In every format config.json is JSON; if it is not, the intended format is unknown.
    if (path / CONFIG).is_file() and not (path / CHECKSUMS).is_file():
        read_json_object("from_preset", path / CONFIG)
    for preset_format in FORMATS:
        if preset_format.recognises(path):
            return preset_format.load(path, cls, dtype, name, overrides, verify)
    # In the folder of a run.
    keras_file = path / "model.keras" if path.is_dir() else path
    if keras_file.suffix == ".keras" and keras_file.exists():
        raise ValueError(
            f"from_preset: a .keras file must be loaded by keras.saving.load_model. Got {str(keras_file)!r}."
        )
    raise ValueError(
        "from_preset: a path must be a folder written by save_to_preset, or a checkpoint that "
        f"load_recurrentgemma, load_mamba, load_mamba2 or load_rwkv reads. Got {str(path)!r}, {_what_is_at(path)}."
    )


def load_tokenizer_of(model: keras.Model, folder: Path) -> None:
    """Set a model's tokenizer from its files in a folder, if there are any; warn if the package for it is missing."""
    try:
        model.tokenizer = load_tokenizer(folder)
    except ImportError as error:
        warnings.warn(f"The model is loaded without its tokenizer. {error}", stacklevel=2)


def _what_is_at(path) -> str:
    if not path.exists():
        return "a broken link"
    if not path.is_dir():
        return "a file"
    names = sorted(entry.name for entry in path.iterdir())
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"a folder with {', '.join(names[:3])}{more}" if names else "an empty folder"


def _is_ours(path) -> bool:
    if (path / CHECKSUMS).is_file():
        return True
    return (path / CONFIG).is_file() and read_json_object("from_preset", path / CONFIG).get("format") == FORMAT


def _load_ours(path, cls, dtype, name, overrides, verify) -> keras.Model:
    if verify and (path / CHECKSUMS).is_file():
        check_files(path)
    for needed in (CONFIG, WEIGHTS):
        if not (path / needed).is_file():
            raise ValueError(f"from_preset: a preset must contain {needed}. Got {str(path)!r} without it.")
    content = read_json_object("from_preset", path / CONFIG)
    if (content.get("format"), content.get("format_version")) != (FORMAT, VERSION):
        raise ValueError(
            f"from_preset: format_version must be {VERSION} for this version of the package. "
            f"Got {content.get('format_version')!r} in {str(path)!r}."
        )
    found = _find_class(cls, content.get("class"))
    if found is None:
        raise ValueError(
            f"from_preset: the saved model must be a {cls.__name__}. Got {str(path)!r} with a {content.get('class')}."
        )
    config = _saved_config(content, path)
    policy, quantized_to = dtype or _saved_policy(content, path), content.get("quantized_to")
    if quantized_to not in (None, *MODES):
        raise ValueError(
            f"from_preset: quantized_to must be one of {', '.join(MODES)}, if it is given. "
            f"Got {quantized_to!r} in {str(path)!r}."
        )
    weights = SafeTensors(path / WEIGHTS)
    # Before anything is built, since a config may require any amount of memory.
    check_num_layers("from_preset", config, weights)
    fixed = []
    for field, value in overrides.items():
        changed = config.replace(**{field: value})
        if changed.num_layers != config.num_layers or weight_shapes(changed) != weight_shapes(config):
            fixed.append(field)
    if fixed:
        raise ValueError(
            "from_preset: with saved weights, an override must keep the name and shape of every weight. "
            f"Got {', '.join(fixed)}."
        )
    tensors = verified(path, weights) if verify else {tensor: weights.stored(tensor) for tensor in weights}
    if quantized_to == "int8" and content.get("dequantize") is True:
        quantized_to, tensors = None, dequantized("from_preset", tensors)
    if quantized_to is None:
        check_tensors("from_preset", weight_shapes(config), tensors)
    else:
        check_quantized_tensors("from_preset", weight_shapes(config), tensors)
    with without_initialization():
        model = found(config.replace(**overrides), dtype=policy, name=name)
    if quantized_to is not None:
        model.quantize(quantized_to)
    fill("from_preset", model, tensors)
    load_tokenizer_of(model, path)
    return model


def _saved_config(content, path) -> GriffinConfig:
    try:
        return GriffinConfig(**content["config"])
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).removesuffix(".")
        raise ValueError(f"from_preset: the config must be a GriffinConfig. Got {str(path)!r}: {reason}.") from error


def _saved_policy(content, path) -> str | None:
    name = content.get("dtype")
    try:
        # Keras would construct whatever anything but a name describes.
        keras.dtype_policies.get(str(name) if name is not None else None)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"from_preset: the dtype must be the name of a policy. Got {name!r} in {str(path)!r}."
        ) from error
    return name


def _find_class(cls, class_name) -> type | None:
    """The class of that name among a class and its subclasses."""
    if cls.__name__ == class_name:
        return cls
    return next(filter(None, (_find_class(below, class_name) for below in cls.__subclasses__())), None)


#: In the order in which they are tried. Formats of other implementations are in `conversion`, above the models, which
#: adds them here when the package is imported, so that models need not know them.
FORMATS = [PresetFormat(_is_ours, _load_ours)]
