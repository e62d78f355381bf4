"""The settings that determine a run, so that it resumes with the same ones or not at all."""

import hashlib
import json
import re
import zlib
from collections.abc import Iterator

import keras
import numpy as np

from keras_griffin import backends
from keras_griffin.training.resuming.corpus import describe_corpus

#: May change: names, which Keras numbers; settings of speed and placement; a functional model's edges, which its
#: layers and variables already describe.
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
#: Attributes of a dataset that may change: its position, and how its batches are loaded.
_MOVING = {"epoch", "workers", "use_multiprocessing", "max_queue_size"}
#: Longer texts, such as a tokenizer's vocabulary, are stored as a digest.
_LONGEST_TEXT = 200
#: Parts that depend on a process's share of the data.
_OF_DATA = ("data", "data.data", "corpus", "first_batch")
#: Patterns in a leaf's place, and in its value as JSON.
_IN_CORPUS = re.compile(r"(?:^|\.)corpus\.")
_FIRST_BATCH = re.compile(r"(?:^|\.)first_batch ")
_SIZE = re.compile(r'"(?:\(.*\) of \w+|\w+ of \d+)"')
#: How many differences a message names.
NAMED_DIFFERENCES = 4


def describe_run(model: keras.Model, data: keras.utils.PyDataset) -> dict:
    """The settings of model, optimizer, loss and data, the data's corpus, and a checksum of its first batch, as JSON.

    Args:
        model: compiled.
        data: at the beginning of its first epoch.
    """
    backends.active().before_config_is_written()
    # Before its attributes are read: those that a dataset sets on first use then exist, as they will later.
    first_batch = _checksum(data[0])
    inner = getattr(data, "data", None)
    return {
        "model": _settings(model, type(model).__name__),
        "compiled": _plain(model.get_compile_config() or {}),
        "data": _describe_data(data),
        "data.data": _describe_data(inner) if isinstance(inner, keras.utils.PyDataset) else {},
        "corpus": describe_corpus(data),
        "first_batch": first_batch,
    }


def describe_shares(descriptions: list[dict]) -> dict:
    """Combine the descriptions of a run's processes: the first one, and how the data of the others differ from it."""
    leaves = [dict(_leaves({name: one[name] for name in _OF_DATA})) for one in descriptions]
    shares = {}
    for index, share in enumerate(leaves):
        others = {place: json.loads(value) for place, value in share.items() if leaves[0].get(place) != value}
        if others:
            shares[f"process {index}"] = others
    return {**descriptions[0], "processes": len(descriptions), "shares": shares}


def differences(then: dict, now: dict) -> list[str]:
    """The differences between two descriptions, such as `model.window 64 instead of 128`; a corpus comes first."""
    if then.get("processes") != now.get("processes"):
        # Their shares differ anyway.
        then, now = ({name: part for name, part in one.items() if name != "shares"} for one in (then, now))
    old, new = dict(_leaves(then)), dict(_leaves(now))
    corpora = [*_corpora(old, new)]
    places = [*new, *(place for place in old if place not in new)]
    return corpora + [
        f"{place} {new.get(place, 'nothing')} instead of {old.get(place, 'nothing')}"
        for place in places
        if old.get(place) != new.get(place)
        # These are leaves if they are empty.
        and place not in ("data.data", "shares")
        and not _IN_CORPUS.search(place)
        # Sizes add nothing to a different corpus.
        and not (corpora and (place.endswith(".num_batches") or _SIZE.search(f"{old.get(place)} {new.get(place)}")))
    ]


def refuse_differences(then: dict, now: dict) -> None:
    """Check that two descriptions are of the same run.

    Raises:
        ValueError: they differ; the message names the differences.
    """
    found = differences(then, now)
    if not found:
        return
    # The first batch follows from the settings; it is named only if they are equal.
    settings = [difference for difference in found if not _FIRST_BATCH.search(difference)]
    named = settings or ["a different first batch of the data, from the same settings"]
    more = len(named) - NAMED_DIFFERENCES
    rest = [f"{more} more"] if more > 0 else []
    received = ", ".join([*named[:NAMED_DIFFERENCES], *rest])
    raise ValueError(f"ResumableRun: a run must resume with the settings that it began with. Got {received}.")


def _corpora(old, new) -> Iterator[str]:
    """Which corpora differ, in words."""
    names = [place.rpartition(".")[0] for place in {**new, **old} if _IN_CORPUS.search(place)]
    for name in dict.fromkeys(names):
        words = [json.loads(leaves.get(f"{name}.0", '"nothing"')) for leaves in (old, new)]
        if old.get(f"{name}.1") == new.get(f"{name}.1"):
            continue
        share, place = _IN_CORPUS.split(name)
        if share:
            yield f"a different corpus in data.{place} of {share.removeprefix('shares.')}"
        elif words[0] == words[1]:
            yield f"a different corpus in data.{place}: {words[1]}, as before, but different ones"
        else:
            yield f"a different corpus in data.{place}: {words[1]} instead of {words[0]}"


def _settings(thing, otherwise: str):
    """Keras's serialisation of an object, or `otherwise` if Keras can't serialise it."""
    try:
        return _plain(keras.saving.serialize_keras_object(thing))
    except (NotImplementedError, TypeError, ValueError):
        return otherwise


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


def _describe_data(data) -> dict:
    """A dataset's class, length, and attributes: numbers and texts by value, others by type and size.

    The size of a private attribute is omitted: it may be a cache that fills while the dataset is used.
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
        checksum = zlib.crc32(array.reshape(-1).view("uint8").data, checksum)
    return checksum


def _leaves(value, place=()) -> Iterator[tuple[str, str]]:
    if isinstance(value, (dict, list)) and value:
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            # Keras's `config` level between an object and its settings is skipped.
            yield from _leaves(part, place if key == "config" else (*place, str(key)))
    else:
        yield ".".join(place), json.dumps(value)
