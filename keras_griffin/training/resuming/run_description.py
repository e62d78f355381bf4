"""The settings and the data of a run as JSON, so that it resumes with the same ones or not at all."""

import hashlib
import itertools
import json
import warnings
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_griffin import backends
from keras_griffin.checks import plain
from keras_griffin.training.data.token_file import TokenFile

#: May change: names, which Keras numbers; settings of speed and placement; a functional model's edges, which its
#: layers and variables already describe.
_LEFT_OUT = set(
    "build_config built compile_config inbound_nodes input_layers jit_compile module name output_layers "
    "registered_name run_eagerly shared_object_id".split()
)
#: Attributes of a dataset that may change: its position, and how its batches are loaded.
_MOVING = {"epoch", "workers", "use_multiprocessing", "max_queue_size"}
#: Longer texts, such as a tokenizer's vocabulary, are stored as a digest.
_LONGEST_TEXT = 200
#: How many differences a message names.
NAMED_DIFFERENCES = 4
#: All bytes of a corpus are read up to this size; of a larger array, which may be mapped from a file of any size,
#: `SAMPLES` evenly spread pieces of `SAMPLE_BYTES`, including the first and the last.
WHOLE_BYTES = 1 << 30
SAMPLES = 1 << 10
SAMPLE_BYTES = 1 << 16
_PIECE_BYTES = 1 << 24


def describe_run(model: keras.Model, data: keras.utils.PyDataset) -> dict:
    """The settings of model, optimizer, loss and data, and a checksum of the first batch of its epoch, as JSON."""
    backends.active().before_config_is_written()
    # Which rows of it a process reads may change.
    data = getattr(data, "whole", data)
    # Before its attributes are read: a dataset may set some on first use.
    first_batch = 0
    for leaf in keras.tree.flatten(data[0]):
        first_batch = _checksum(keras.ops.convert_to_numpy(leaf), first_batch)
    try:
        settings = _plain(keras.saving.serialize_keras_object(model))
    except (NotImplementedError, TypeError, ValueError):
        settings = type(model).__name__
    compiled = _plain(model.get_compile_config() or {})
    described = {"model": settings, "dtypes": _dtypes(model), "compiled": compiled, "data": describe_data(data)}
    return {**described, "first_batch": first_batch}


def describe_fit(data: keras.utils.PyDataset, validation_data: Any, options: Mapping) -> dict:
    """What decides the steps of `fit`, and how many batches it validates after an epoch, as JSON."""
    validation: dict[str, Any] = {"class_name": type(validation_data).__name__}
    if hasattr(validation_data, "whole"):
        validation = describe_data(validation_data.whole)
    elif isinstance(validation_data, keras.utils.PyDataset):
        validation["num_batches"] = validation_data.num_batches
    elif isinstance(validation_data, (list, tuple)):
        validation["rows"] = len(next(iter(keras.tree.flatten(validation_data)), ()))
    described = {"fit": {**_plain(options), "validation_data": validation}}
    # Processes that share batches compare their data; others may have data of their own, but not more batches.
    return described if hasattr(data, "whole") else {**described, "num_batches": data.num_batches}


def describe_shares(descriptions: list[dict]) -> dict:
    """The first description of a run's processes, and how the data of the others differ from it."""
    of_data = ({name: one[name] for name in ("data", "first_batch")} for one in descriptions)
    first, *rest = (dict(_leaves(part, is_split=True)) for part in of_data)
    shares: dict[str, Any] = {}
    for index, share in enumerate(rest, 1):
        if others := {place: json.loads(value) for place, value in share.items() if first.get(place) != value}:
            shares[f"process {index}"] = others
    # Only if each has data of its own are they bound to their number.
    return {**descriptions[0], "shares": shares and {**shares, "processes": len(descriptions)}}


def check_same_run(saved: dict, given: dict) -> None:
    """Check that two descriptions are of the same run."""
    if "dtypes" not in saved:
        warnings.warn(
            "ResumableRun: a run of an earlier version has no record of the dtypes in which its model computed, which "
            f"must be those of this one. Got {', '.join(given['dtypes'])}.",
            stacklevel=4,
        )
        saved = {**saved, "dtypes": given["dtypes"]}
    # Of an earlier version, too.
    saved = {name: part for name, part in saved.items() if name != "processes"}
    check_same_description("a run must resume with the settings that it began with", saved, given)


def check_same_description(rule: str, saved: dict, given: dict) -> None:
    """Check that two descriptions are the same; the error names `model.window 64 instead of 128`."""
    leaves = [dict(_leaves(one)) for one in (saved, given)]
    # The first batch follows from the settings, so it is named only if they are equal.
    settings = [{name: text for name, text in each.items() if not name.endswith("first_batch")} for each in leaves]
    for old, new in (settings, leaves):
        check_same(rule, old, new)


def check_same(rule: str, saved: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Check that texts by name are the same; the error has the rule, and the first differences."""
    found = [
        f"{name} {given.get(name, 'nothing')} instead of {saved.get(name, 'nothing')}"
        for name in {**given, **saved}
        if given.get(name) != saved.get(name)
    ]
    if found:
        more = len(found) - NAMED_DIFFERENCES
        received = ", ".join(found[:NAMED_DIFFERENCES] + ([f"{more} more"] if more > 0 else []))
        raise ValueError(f"ResumableRun: {rule}. Got {received}.")


def describe_data(data: keras.utils.PyDataset) -> dict:
    """A dataset's class, length and attributes: a corpus as `[words, checksum]`, and a dataset within like this one."""
    described: dict = {"class_name": type(data).__name__, "num_batches": data.num_batches}
    for attribute, value in sorted(vars(data).items()):
        name = attribute.lstrip("_")
        if name in _MOVING | set(described):
            continue
        if isinstance(value, keras.utils.PyDataset):
            described[name] = describe_data(value)
        elif isinstance(value, dict) and name == attribute:
            described[name] = {str(key): _describe(part) for key, part in value.items()}
        else:
            described[name] = _describe(value, is_private=name != attribute)
    return described


def _dtypes(model) -> list[str]:
    """The dtypes in which layers compute, in their order; the settings of a model leave out the names of policies."""
    # Of others, such as inputs, the dtype is the global policy's, whatever the model computes in.
    dtypes = [layer.compute_dtype for layer in model._flatten_layers() if layer._trainable_variables]
    runs = ((dtype, len(list(layers))) for dtype, layers in itertools.groupby(dtypes))
    return [f"{count} layer{'s' * (count > 1)} in {dtype}" for dtype, count in runs]


def _describe(value, is_private=False):
    """A number or a text by value, a corpus by its checksum, anything else by its type and size."""
    value = plain(value)
    # A private text may be the path of a process's own copy.
    if value is None or isinstance(value, (bool, int, float)) or isinstance(value, str) and not is_private:
        return _plain(value)
    # What is private may be a cache that fills while the dataset is used.
    if not is_private and (corpus := _describe_corpus(value)):
        return corpus
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{tuple(value.shape)} of {value.dtype}"
    size = f" of {len(value)}" if not is_private and hasattr(value, "__len__") else ""
    return f"{type(value).__name__}{size}"


def _describe_corpus(value) -> list | None:
    """The size, in words, and the checksum of a token file, an array, or a list of integers, arrays or texts."""
    if isinstance(value, TokenFile):
        return [f"{len(value):,} documents of {value.num_tokens:,} tokens", value.checksum]
    # A record of numbers is a setting.
    if hasattr(value, "_fields"):
        return None
    if (array := _as_array(value)) is not None:
        kind = "tokens" if "int" in array.dtype.name else "numbers"
        return [f"{len(array):,} {kind}" if array.ndim == 1 else f"numbers {array.shape}", _checksum(array)]
    if not isinstance(value, (list, tuple)) or not value:
        return None
    checksum = size = 0
    for part in value:
        array = _as_array(part)
        if array is None:
            return None
        # A document's ids are the same in any dtype.
        checksum = _checksum(array.astype("int64") if array.dtype.kind in "iu" else array, checksum)
        size += array.size
    return [f"{len(value):,} documents of {size:,} {'bytes' if isinstance(value[0], str) else 'tokens'}", checksum]


def _as_array(value) -> np.ndarray | None:
    """A value as an array, if it is an array, a list of integers or a text; otherwise None."""
    if isinstance(value, np.ndarray):
        return None if value.dtype.hasobject else value
    if isinstance(value, str):
        return np.frombuffer(value.encode(), "uint8")
    if isinstance(value, range) or isinstance(value, (list, tuple)) and all(isinstance(part, int) for part in value):
        return np.array(value, "int64") if len(value) else None
    return keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else None


def _checksum(array: np.ndarray, checksum: int = 0) -> int:
    """The CRC-32 of an array's shape, dtype and bytes, or samples of them, after `checksum`."""
    checksum = zlib.crc32(f"{array.shape} {array.dtype}".encode(), checksum)
    rows = array.reshape(1) if array.ndim == 0 else array
    if rows.nbytes > WHOLE_BYTES:
        length = max(1, SAMPLE_BYTES * len(rows) // rows.nbytes)
        starts = np.linspace(0, len(rows) - length, SAMPLES).astype("int64").tolist()
    else:
        # A piece at a time, since an array that is not contiguous is copied.
        length = max(1, _PIECE_BYTES * len(rows) // max(1, rows.nbytes))
        starts = range(0, len(rows), length)
    for start in starts:
        piece = np.ascontiguousarray(rows[start : start + length])
        checksum = zlib.crc32(piece.reshape(-1).view("uint8").data, checksum)
    return checksum


def _plain(value):
    """A value in JSON's types, without the parts that may change."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items() if key not in _LEFT_OUT}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    return text if len(text) <= _LONGEST_TEXT else f"SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"


def _leaves(value, place=(), is_split=False) -> Iterator[tuple[str, str]]:
    """The parts of nested dicts and lists as JSON, by their place; a list of plain values is one, unless `is_split`."""
    parts: dict = {}
    if isinstance(value, dict):
        parts = value
    elif isinstance(value, list) and (is_split or any(isinstance(part, (dict, list)) for part in value)):
        parts = dict(enumerate(value))
    elif value != {}:
        yield ".".join(place), json.dumps(value)
    for key, part in parts.items():
        # Keras's `config` level between an object and its settings is skipped.
        yield from _leaves(part, place if key == "config" else (*place, str(key)), is_split)
