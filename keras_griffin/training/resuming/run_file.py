"""A snapshot of a run in one safetensors file, in which any damage is detected. Its metadata:

format      "keras_griffin run 1"
facts       JSON: {"tensors": {name: [shape, dtype, CRC-32 of the bytes]}, "facts": the other data}
crc32       the CRC-32 of `facts`, in decimal
"""

import json
import os
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from keras_griffin.files.durable import durable_file
from keras_griffin.files.safetensors import SafeTensors, write_safetensors
from keras_griffin.models.saving.checksums import array_crc32

FORMAT = "keras_griffin run 1"


class RunFile(NamedTuple):
    """The contents of a file, from `read_run`."""

    facts: dict
    #: Views into the file.
    tensors: Mapping[str, np.ndarray]


def write_run(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], facts: dict) -> None:
    """Write arrays, and facts as JSON; the file at `path` is replaced atomically and synced to disk."""
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    described = {name: [list(array.shape), str(array.dtype), array_crc32(array)] for name, array in arrays.items()}
    text = json.dumps({"tensors": described, "facts": facts}, default=as_json)
    metadata = {"format": FORMAT, "facts": text, "crc32": str(zlib.crc32(text.encode()))}
    with durable_file(path) as aside:
        write_safetensors(aside, arrays, metadata=metadata)


def read_run(path: str | os.PathLike) -> RunFile:
    """Read a file that `write_run` wrote, after checking every byte; a ValueError says what is wrong with it."""
    tensors = SafeTensors(path)
    if tensors.metadata.get("format") != FORMAT:
        raise ValueError(f"read_run: the format must be {FORMAT!r}. Got {tensors.metadata.get('format')!r}.")
    text = tensors.metadata.get("facts", "")
    if tensors.metadata.get("crc32") != str(zlib.crc32(text.encode())):
        raise ValueError("read_run: the checksum must match the facts.")
    content = json.loads(text)
    found = {name: [list(tensors.shape(name)), str(tensors.dtype(name))] for name in tensors}
    if found != {name: described[:2] for name, described in content["tensors"].items()}:
        raise ValueError("read_run: the header must have the tensors that the facts list.")
    for name, (_, _, checksum) in content["tensors"].items():
        if array_crc32(tensors[name]) != checksum:
            raise ValueError(f"read_run: the checksum must match the bytes of {name}.")
    return RunFile(content["facts"], tensors)


def as_json(value):
    """A NumPy scalar, such as callbacks store, as Python's."""
    return value.item()
