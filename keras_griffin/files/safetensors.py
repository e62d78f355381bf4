"""The safetensors format: a JSON header, then the tensors' bytes, read in place from the mapped file.

8 bytes     N, the header's length, little-endian
N bytes     {name: {"dtype": "BF16", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {str: str}}
the rest    the tensors, row-major and little-endian, without gaps; offsets count from here
"""

import json
import math
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import ml_dtypes
import numpy as np

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
#: The format's bound on the header, against files that would exhaust memory.
MAX_HEADER_BYTES = 100_000_000


class StoredTensor(NamedTuple):
    """A tensor whose shape and dtype are known before it is read or written."""

    shape: tuple[int, ...]
    dtype: np.dtype
    #: Returns the array.
    read: Callable[[], np.ndarray]


class SafeTensors(Mapping):
    """The tensors of a safetensors file, by name.

    Only the header is read until an array is used: each is a read-only view into the file, which is mapped into memory
    and must not be modified meanwhile. (`write_safetensors` never does: it replaces files atomically.)

    Args:
        path: the file.

    Raises:
        ValueError: it is not a safetensors file, or an incomplete one.

    Examples:
        >>> import numpy as np, tempfile, keras_griffin
        >>> from keras_griffin.files import SafeTensors, write_safetensors
        >>> path = tempfile.mkdtemp() + "/some.safetensors"
        >>> write_safetensors(path, {"a": np.arange(6).reshape(2, 3)}, metadata={"made by": "me"})
        >>> tensors = SafeTensors(path)
        >>> tensors.metadata, tensors.shape("a"), tensors["a"][1].tolist()
        ({'made by': 'me'}, (2, 3), [3, 4, 5])
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            start = file.read(8)
            if len(start) < 8:
                self._refuse(f"the file must begin with the header's length, 8 bytes. Got {len(start)} bytes")
            (length,) = struct.unpack("<Q", start)
            if length > min(MAX_HEADER_BYTES, size - 8):
                self._refuse(f"the header must lie inside the file. Got a header of {length} bytes in {size} bytes")
            text = file.read(length)
        header = self._parse(text)
        #: The checksum of the header as stored, including its length.
        self.header_crc32 = zlib.crc32(text, zlib.crc32(start))
        #: The writer's notes, strings by name.
        self.metadata: dict[str, str] = self._checked_metadata(header.pop(METADATA, {}))
        self._entries = {name: self._checked_entry(name, entry) for name, entry in header.items()}
        self._check_offsets(size - 8 - length)
        with self.path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = np.frombuffer(self._map, "uint8")[8 + length :]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self._entries[name][1]

    def dtype(self, name: str) -> np.dtype:
        """A tensor's dtype; bfloat16 is that of `ml_dtypes`."""
        return self._entries[name][0]

    def stored(self, name: str) -> StoredTensor:
        """A tensor in the form that `write_safetensors` takes."""
        return StoredTensor(self.shape(name), self.dtype(name), lambda: self._only(name))

    def _only(self, name):
        """A tensor, after dropping the pages read so far from memory; they are read again when needed."""
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)
        return self[name]

    def __getitem__(self, name: str) -> np.ndarray:
        dtype, shape, begin, end = self._entries[name]
        return self._bytes[begin:end].view(dtype).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _parse(self, text: bytes) -> dict:
        try:
            header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_repetition)
            if b"\\u" in text:
                # An escape may be half a character, which can't be written or shown.
                json.dumps(header, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            self._refuse(f"the header must be JSON without duplicate names. Got {error}")
        if not text.startswith(b"{") or not isinstance(header, dict):
            self._refuse("the header must be a JSON object")
        return header

    def _checked_metadata(self, metadata) -> dict[str, str]:
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            self._refuse(f"the metadata must map strings to strings. Got {metadata!r}")
        return metadata

    def _checked_entry(self, name, entry) -> tuple:
        fields = entry if isinstance(entry, dict) else {}
        shape: Any = fields.get("shape")
        offsets: Any = fields.get("data_offsets")
        if set(fields) != {"dtype", "shape", "data_offsets"} or not _are_counts(shape) or not _are_counts(offsets, 2):
            self._refuse(f"{name!r} must have a dtype, a shape and two offsets. Got {entry!r}")
        dtype = DTYPES.get(fields["dtype"]) if isinstance(fields["dtype"], str) else None
        if dtype is None:
            self._refuse(f"the dtype of {name!r} must be one of {', '.join(DTYPES)}. Got {fields['dtype']!r}")
        num_bytes = math.prod(shape) * dtype.itemsize
        if offsets[1] - offsets[0] != num_bytes:
            self._refuse(
                f"{name!r} must have {num_bytes} bytes for shape {tuple(shape)} of {fields['dtype']}. "
                f"Got offsets {offsets}"
            )
        return dtype, tuple(shape), *offsets

    def _check_offsets(self, data_size):
        reached = 0
        for name, (*_, begin, end) in sorted(self._entries.items(), key=lambda item: item[1][2:]):
            if begin != reached:
                self._refuse(f"the tensors must be contiguous. Got {name!r} at byte {begin}, not {reached}")
            reached = end
        if reached != data_size:
            self._refuse(f"the tensors must fill the file. Got tensors of {reached} bytes and a file with {data_size}")

    def _refuse(self, reason) -> NoReturn:
        reason = reason if len(reason) <= 500 else f"{reason[:500]}..."
        raise ValueError(f"SafeTensors: {reason}, in {str(self.path)!r}.")


def write_safetensors(
    path: str | os.PathLike, tensors: Mapping[str, StoredTensor | np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to a safetensors file, atomically.

    Args:
        path: where the file will be.
        tensors: arrays, or `StoredTensor`s, by name. A `StoredTensor` is read when it is written and then released, so
            that one tensor is in memory at a time.
        metadata: a mapping of strings to strings.

    Raises:
        ValueError: a dtype is not one of the format's, an array does not match its `StoredTensor`, or the metadata are
            not strings.
    """
    metadata = dict(metadata or {})
    if not all(isinstance(text, str) for item in metadata.items() for text in item):
        raise ValueError(f"write_safetensors: metadata must map strings to strings. Got {metadata!r}.")
    stored = {name: _as_stored(tensor) for name, tensor in tensors.items()}
    for name, tensor in stored.items():
        if name == METADATA or np.dtype(tensor.dtype) not in NAMES:
            raise ValueError(
                f"write_safetensors: a tensor must have a dtype among {', '.join(map(str, NAMES))} and a name other "
                f"than {METADATA}. Got {name!r} of {tensor.dtype}."
            )
    # The widest first, so that each starts at a multiple of its own item size.
    names = sorted(stored, key=lambda name: -np.dtype(stored[name].dtype).itemsize)
    header: dict[str, dict] = {METADATA: metadata} if metadata else {}
    begin = 0
    for name in names:
        dtype = np.dtype(stored[name].dtype)
        end = begin + math.prod(stored[name].shape) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(stored[name].shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with atomic_file(path) as aside, aside.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            file.write(_bytes_of(name, stored[name]))


def _as_stored(tensor) -> StoredTensor:
    if isinstance(tensor, StoredTensor):
        return tensor
    array = np.asarray(tensor)
    return StoredTensor(array.shape, array.dtype, lambda: array)


def _bytes_of(name, stored):
    array = np.asarray(stored.read())
    if (array.shape, array.dtype) != (tuple(stored.shape), stored.dtype):
        raise ValueError(
            f"write_safetensors: {name!r} must be {tuple(stored.shape)} of {stored.dtype}, as declared. "
            f"Got {array.shape} of {array.dtype}."
        )
    return np.ascontiguousarray(array).reshape(-1).view("uint8").data


def _without_repetition(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a duplicate name")
    return dict(pairs)


def _are_counts(values, length=None) -> bool:
    is_list = isinstance(values, list) and length in (None, len(values))
    return is_list and all(type(value) is int and value >= 0 for value in values)
