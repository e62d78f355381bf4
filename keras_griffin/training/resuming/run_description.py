"""What decides a run's course, so that it goes on as it began or not at all."""

import hashlib
import importlib
import json
import zlib
from collections.abc import Iterator

import keras
import numpy as np

#: What may change: names, which Keras numbers; what only says where and how fast it is computed; a functional model's
#: edges, which stand for themselves in its layers and variables.
_LEFT_OUT = {
    "build_config",
    "built",
    "compile_config",
    "inbound_nodes",
    "input_layers",
    "jit_compile",
    "module",
    "name",
    "output_layers",
    "registered_name",
    "run_eagerly",
    "shared_object_id",
}
#: Of a dataset: where it stands, and how many threads make its batches.
_MOVING = {"epoch", "workers", "use_multiprocessing", "max_queue_size"}
#: Longer texts, such as a tokenizer's vocabulary, are kept as a digest.
_LONGEST_TEXT = 200
#: How many differences a message names.
NAMED_DIFFERENCES = 4


def describe_run(model: keras.Model, data: keras.utils.PyDataset) -> dict:
    """The settings of model, optimizer, loss and data, and a checksum of the data's first batch, as JSON has them.

    Args:
        model: compiled.
        data: where its first epoch begins.
    """
    if keras.backend.backend() == "torch":
        importlib.import_module("keras_griffin.training.resuming.torch_triton")
    # Before its attributes are looked at: what a dataset makes when it is first used is then there, as later.
    first_batch = _checksum(data[0])
    return {
        "model": _settings(model, type(model).__name__),
        "compiled": _plain(model.get_compile_config() or {}),
        "data": _describe_data(data),
        "first_batch": first_batch,
    }


def differences(then: dict, now: dict) -> list[str]:
    """What has changed between two descriptions, such as `model.window 64 where it was 128`."""
    old, new = dict(_leaves(then)), dict(_leaves(now))
    places = [*new, *(place for place in old if place not in new)]
    return [
        f"{place} {new.get(place, 'nothing')} where it was {old.get(place, 'nothing')}"
        for place in places
        if old.get(place) != new.get(place)
    ]


def refuse_differences(then: dict, now: dict) -> None:
    """Refuse to go on with another run.

    Raises:
        ValueError: the descriptions differ; the message names how.
    """
    found = differences(then, now)
    if not found:
        return
    # The first batch follows from the settings; it speaks where they are silent.
    settings = [difference for difference in found if not difference.startswith("first_batch ")]
    named = settings or ["another first batch of the data, from the same settings"]
    more = len(named) - NAMED_DIFFERENCES
    rest = [f"{more} more"] if more > 0 else []
    received = ", ".join([*named[:NAMED_DIFFERENCES], *rest])
    raise ValueError(f"ResumableRun: a run must go on with what it began with. Got {received}.")


def _settings(thing, otherwise: str):
    """What Keras would write of it; of what Keras can't write, another word."""
    try:
        return _plain(keras.saving.serialize_keras_object(thing))
    except (NotImplementedError, TypeError, ValueError):
        return otherwise


def _plain(value):
    """The same in JSON's types, without what may change."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items() if key not in _LEFT_OUT}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    return text if len(text) <= _LONGEST_TEXT else f"SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"


def _describe_data(data) -> dict:
    """Its class, its length, and its attributes as far as they are numbers and texts; of others their kind and size.

    Not the size of what is private: it may be a store that fills while the dataset is used.
    """
    described = {"class_name": type(data).__name__, "num_batches": data.num_batches}
    for attribute, value in sorted(vars(data).items()):
        name = attribute.lstrip("_")
        if name not in _MOVING | set(described):
            described[name] = _describe_value(value, is_sized=name == attribute)
    return described


def _describe_value(value, is_sized):
    if value is None or isinstance(value, (bool, int, float, str)):
        return _plain(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{tuple(value.shape)} of {value.dtype}"
    size = f" of {len(value)}" if is_sized and hasattr(value, "__len__") else ""
    return f"{type(value).__name__}{size}"


def _checksum(batch) -> int:
    checksum = 0
    for leaf in keras.tree.flatten(batch):
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(leaf))
        checksum = zlib.crc32(f"{array.shape} {array.dtype}".encode(), checksum)
        checksum = zlib.crc32(array.reshape(-1).view("uint8"), checksum)
    return checksum


def _leaves(value, place=()) -> Iterator[tuple[str, str]]:
    if isinstance(value, (dict, list)) and value:
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            # Keras's `config` between a thing and its settings says nothing.
            yield from _leaves(part, place if key == "config" else (*place, str(key)))
    else:
        yield ".".join(place), json.dumps(value)
