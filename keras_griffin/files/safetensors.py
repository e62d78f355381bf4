"""Safetensors files: read by the package `safetensors`, and written with one tensor in memory at a time."""

import json
import math
import os
import struct
import textwrap
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from keras_griffin.files.atomic import atomic_file

#: The format's dtypes that this package reads and writes.
DTYPES = {
    "BOOL": np.dtype("bool"),
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
METADATA = "__metadata__"


class StoredTensor(NamedTuple):
    """A tensor whose shape and dtype are known before it is read or written."""

    shape: tuple[int, ...]
    dtype: np.dtype
    #: Returns the array.
    read: Callable[[], np.ndarray]


class SafeTensors(Mapping):
    """The tensors of a safetensors file, by name, each read when it is used; a ValueError for a damaged file."""

    # The file is mapped into memory and must not be modified meanwhile. `write_safetensors` replaces files.
    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        # Of a folder, Python's error is clearer than the package's.
        with self.path.open("rb"):
            try:
                self._file = safe_open(self.path, "np")
            except SafetensorError as error:
                reason = textwrap.shorten(str(error), 500, placeholder="...")
                raise ValueError(
                    f"SafeTensors: the file must be a valid safetensors file. Got {str(self.path)!r}: {reason}."
                ) from error
        #: The writer's notes, strings by name.
        self.metadata: dict[str, str] = self._file.metadata() or {}
        self._headers = {name: self._file.get_slice(name) for name in self._file.keys()}
        for name, header in self._headers.items():
            if header.get_dtype() not in DTYPES:
                raise ValueError(
                    f"SafeTensors: a dtype must be one of {', '.join(DTYPES)}. "
                    f"Got {header.get_dtype()} of {name!r} in {str(self.path)!r}."
                )

    @property
    def header_crc32(self) -> int:
        """The checksum of the header as stored, including its length."""
        with self.path.open("rb") as file:
            start = file.read(8)
            return zlib.crc32(start + file.read(*struct.unpack("<Q", start)))

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(self._headers[name].get_shape())

    def dtype(self, name: str) -> np.dtype:
        """A tensor's dtype; bfloat16 is that of `ml_dtypes`."""
        return DTYPES[self._headers[name].get_dtype()]

    def stored(self, name: str) -> StoredTensor:
        """A tensor in the form that `write_safetensors` takes."""
        return StoredTensor(self.shape(name), self.dtype(name), partial(self.__getitem__, name))

    def __getitem__(self, name: str) -> np.ndarray:
        # For a name that is not there, a `Mapping` raises a `KeyError`.
        self._headers[name]
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


class InMemory(Mapping):
    """The tensors of a safetensors file that is in memory, as `SafeTensors` gives those of one on disk."""

    def __init__(self, content: bytes):
        try:
            self._tensors = dict(deserialize(content))
        except SafetensorError as error:
            raise ValueError(f"InMemory: the bytes must be a valid safetensors file. Got {error}.") from error
        (length,) = struct.unpack("<Q", content[:8])
        self.metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get(METADATA, {})

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(self._tensors[name]["shape"])

    def dtype(self, name: str) -> np.dtype:
        """A tensor's dtype; bfloat16 is that of `ml_dtypes`."""
        return DTYPES[self._tensors[name]["dtype"]]

    def __getitem__(self, name: str) -> np.ndarray:
        return np.frombuffer(self._tensors[name]["data"], self.dtype(name)).reshape(self.shape(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def write_safetensors(
    path: str | os.PathLike, tensors: Mapping[str, StoredTensor | np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays, or `StoredTensor`s, each read when it is written and then released, atomically to one file."""
    pieces = safetensors_pieces(tensors, metadata)
    # The header is checked before there is a file.
    header = next(pieces)
    with atomic_file(path) as aside, aside.open("wb") as file:
        file.write(header)
        file.writelines(pieces)


def safetensors_pieces(
    tensors: Mapping[str, StoredTensor | np.ndarray], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """The bytes of such a file: its header, and each tensor."""
    metadata = dict(metadata or {})
    if not all(isinstance(text, str) for item in metadata.items() for text in item):
        raise ValueError(f"write_safetensors: metadata must map strings to strings. Got {metadata!r}.")
    for name, tensor in tensors.items():
        if name == METADATA or np.dtype(tensor.dtype) not in NAMES:
            raise ValueError(
                f"write_safetensors: a tensor must have a dtype among {', '.join(map(str, NAMES))} and a name other "
                f"than {METADATA}. Got {name!r} of {tensor.dtype}."
            )
    # The widest first, so that each starts at a multiple of its own item size.
    names = sorted(tensors, key=lambda name: -np.dtype(tensors[name].dtype).itemsize)
    header: dict[str, dict] = {METADATA: metadata} if metadata else {}
    begin = 0
    # 8 bytes with the header's length, the header, and the tensors without gaps, at offsets that count from there.
    for name in names:
        dtype, shape = np.dtype(tensors[name].dtype), tuple(tensors[name].shape)
        end = begin + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for name in names:
        yield _bytes_of(name, tensors[name])


def _bytes_of(name, tensor):
    array = np.asarray(tensor.read() if isinstance(tensor, StoredTensor) else tensor)
    if (array.shape, array.dtype) != (tuple(tensor.shape), tensor.dtype):
        raise ValueError(
            f"write_safetensors: {name!r} must be {tuple(tensor.shape)} of {tensor.dtype}, as declared. "
            f"Got {array.shape} of {array.dtype}."
        )
    return np.ascontiguousarray(array).reshape(-1).view("uint8").data
