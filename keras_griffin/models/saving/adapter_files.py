"""Adapters in their own file: some megabytes next to the gigabytes of their base.

A safetensors file with A and B of each layer, by their variables' paths, and in its metadata

    format, format_version      keras_griffin_adapter, 2
    rank, alpha, targets        the arguments of `enable_lora`, as JSON
    base                        the fingerprint of the weights with which they were trained
    sum                         a checksum of the other metadata and of each tensor

Version 1, which can be read too, has no `sum`.
"""

import json
import os
import zlib
from collections.abc import Mapping

import keras
import ml_dtypes
import numpy as np

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.files.safetensors import SafeTensors, write_safetensors
from keras_griffin.layers.base.initialization import without_initialization
from keras_griffin.layers.projection import kernel_of
from keras_griffin.models.lora import check_undivided, enable_lora, lora_of, target_layers
from keras_griffin.models.saving.checksums import array_crc32
from keras_griffin.models.saving.weights import PIECE_BYTES, as_array, assign, check_tensors

FORMAT, VERSION = "keras_griffin_adapter", "2"
#: Can be read too; it has no checksum.
EARLIER_VERSION = "1"


def save_adapter(model: keras.Model, path: str | os.PathLike) -> None:
    """Save a model's adapters, and nothing else, in a safetensors file that any backend can read, atomically.

    Args:
        model: a `LanguageModel` that has LoRA.
        path: where the file will be, such as `"adapter.safetensors"`.

    Raises:
        ValueError: the model has no LoRA.

    Reference: Hu et al. 2021 (arXiv 2106.09685), section 4.2: a checkpoint of adapters alone.
    """
    lora = lora_of("save_adapter", model)
    metadata = {
        "format": FORMAT,
        "format_version": VERSION,
        "rank": json.dumps(lora.rank),
        "alpha": json.dumps(lora.alpha),
        "targets": json.dumps(lora.targets),
        "base": fingerprint(model),
    }
    arrays = {name: as_array(variable) for name, variable in lora.variables.items()}
    write_safetensors(path, arrays, {**metadata, "sum": _sum(metadata, arrays)})


def load_adapter(model: keras.Model, path: str | os.PathLike, *, verify: bool = True) -> None:
    """Load adapters from a file into a model: they replace the values of existing ones, or LoRA is enabled for them.

    Args:
        model: a `LanguageModel`.
        path: a file written by `save_adapter`.
        verify: whether the model's weights must be those with which the adapters were trained, by `fingerprint`. False
            accepts any base with such layers: for example the unquantised model, for adapters trained on its int8
            version.

    Raises:
        ValueError: the file is not an adapter file, or is incomplete or damaged; it belongs to another base; the model
            has adapters of another rank, alpha or other layers; or the tensors do not fit or are not finite. The model
            stays unchanged.

    Reference: Hu et al. 2021 (arXiv 2106.09685), section 4.2.
    """
    check_undivided("load_adapter", model)
    file = SafeTensors(path)
    rank, alpha, targets = _settings(file)
    layers = target_layers("load_adapter", model, targets)
    if model.lora is not None:
        ours = {"rank": model.lora.rank, "alpha": model.lora.alpha, "layers": len(model.lora.layers)}
        theirs = {"rank": rank, "alpha": alpha, "layers": len(layers)}
        if ours != theirs or set(map(id, layers)) != set(map(id, model.lora.layers)):
            raise ValueError(
                "load_adapter: a model's adapters must have the file's rank, alpha and layers. "
                f"Got {_words(ours)} and {str(file.path)!r} of {_words(theirs)}."
            )
    base = fingerprint(model) if verify else None
    if verify and base != file.metadata.get("base"):
        raise ValueError(
            "load_adapter: the base must be the one with which the adapters were trained; verify=False accepts any "
            f"with such layers. Got a model {base} and {str(file.path)!r} of {file.metadata.get('base')}."
        )
    expected = {}
    for layer in layers:
        expected[f"{layer.path}/lora_kernel_a"] = (kernel_of(layer).shape[0], rank)
        expected[f"{layer.path}/lora_kernel_b"] = (rank, layer.units)
    check_tensors("load_adapter", expected, {name: file.stored(name) for name in file})
    infinite = [name for name, array in file.items() if not np.isfinite(array).all()]
    if infinite:
        raise ValueError(
            f"load_adapter: the adapters must be finite numbers. Got NaN or infinity in {infinite[0]} of "
            f"{str(file.path)!r}."
        )
    if model.lora is None:
        with without_initialization():
            enable_lora(model, rank, targets=targets, alpha=alpha)
    for name, variable in model.lora.variables.items():
        assign(variable, file[name])


def fingerprint(model: keras.Model) -> str:
    """A checksum of a model's weights without adapters, the same in float32 and in bfloat16.

    It rounds floating-point weights to bfloat16, so that a model that was loaded from the same file in another dtype
    has the same fingerprint. Names and shapes are part of it; settings such as the window are not.

    Args:
        model: a `LanguageModel`.

    Returns:
        Eight hexadecimal digits, a CRC-32.

    Examples:
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.models.saving.adapter_files import fingerprint
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> before = fingerprint(model)
        >>> model.enable_lora(2)
        >>> fingerprint(model) == before
        True
    """
    adapters = set() if model.lora is None else set(model.lora.variables)
    variables = {variable.path: variable for variable in model.weights if variable.path not in adapters}
    total = 0
    for path in sorted(variables):
        array = as_array(variables[path])
        total = zlib.crc32(f"{path} {array.shape}".encode(), total)
        rows = array.reshape(array.shape[0] if array.ndim else 1, -1)
        step = max(1, PIECE_BYTES // max(1, rows[:1].nbytes))
        for start in range(0, len(rows), step):
            piece = rows[start : start + step]
            piece = piece if piece.dtype.kind in "iub" else piece.astype(ml_dtypes.bfloat16)
            total = zlib.crc32(np.ascontiguousarray(piece).reshape(-1).view("uint8").data, total)
    return f"{total:08x}"


def _settings(file) -> tuple[int, float, list[str] | None]:
    """Rank, alpha and targets of an adapter file."""
    metadata = file.metadata
    version = metadata.get("format_version")
    if metadata.get("format") != FORMAT or version not in (VERSION, EARLIER_VERSION):
        raise ValueError(
            f"load_adapter: the file must be written by save_adapter, in format {FORMAT} {VERSION}. "
            f"Got {str(file.path)!r} of format {metadata.get('format')} {version}."
        )
    if version == VERSION and metadata.get("sum") != _sum(metadata, file):
        raise ValueError(
            f"load_adapter: the file must be undamaged. Got {str(file.path)!r}, whose checksum does not match."
        )
    try:
        rank, alpha, targets = (json.loads(metadata[name]) for name in ("rank", "alpha", "targets"))
    except (KeyError, ValueError, RecursionError):
        rank = alpha = targets = None
    if not COUNT.holds(rank) or not POSITIVE.holds(alpha) or not isinstance(targets, list | None):
        received = {name: metadata.get(name) for name in ("rank", "alpha", "targets")}
        raise ValueError(
            "load_adapter: the file must state its rank, alpha and targets. "
            f"Got {_words(received)} in {str(file.path)!r}."
        )
    return rank, alpha, targets


def _sum(metadata: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> str:
    """A checksum of an adapter file's metadata and tensors, but not of itself."""
    texts = sorted((name, text) for name, text in metadata.items() if name != "sum")
    arrays = [(name, np.ascontiguousarray(array)) for name, array in sorted(tensors.items())]
    described = [(name, str(array.dtype), array.shape, array_crc32(array)) for name, array in arrays]
    return f"{zlib.crc32(json.dumps([texts, described]).encode()):08x}"


def _words(settings) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
