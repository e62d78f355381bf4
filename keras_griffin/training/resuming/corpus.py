"""Describe a dataset's corpus by its size, in words, and a checksum, to recognise a different one.

A token file has a checksum in its header. Of anything else the bytes are read: all of them up to `WHOLE_BYTES`; of a
larger array, which may be mapped from a file of any size, `SAMPLES` evenly spread pieces of `SAMPLE_BYTES`, including
the first and the last.
"""

import zlib

import keras
import numpy as np

from keras_griffin.training.data.token_file import TokenFile

WHOLE_BYTES = 1 << 30
SAMPLES = 1 << 10
SAMPLE_BYTES = 1 << 16
_PIECE_BYTES = 1 << 24


def describe_corpus(data: keras.utils.PyDataset) -> dict[str, list]:
    """`[words, checksum]` by the attribute's name; with the prefix `data.` for a dataset in an attribute `data`.

    It covers token files, arrays, tensors, lists of texts, lists of numbers, and lists, tuples and dicts of those.
    Private attributes are ignored: they may be caches that fill while the dataset is used.
    """
    corpus = {}
    for name, value in sorted(vars(data).items()):
        if isinstance(value, keras.utils.PyDataset):
            corpus.update({f"{name}.{inner}": described for inner, described in describe_corpus(value).items()})
        elif not name.startswith("_"):
            parts = {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
            described = {place: _described(part) for place, part in parts.items()}
            corpus.update({place: facts for place, facts in described.items() if facts})
    return corpus


def words_of_array(shape: tuple[int, ...], dtype: str) -> str:
    """The description of an array in messages."""
    if len(shape) == 1:
        return f"{shape[0]:,} {'tokens' if 'int' in dtype else 'numbers'}"
    return f"numbers {shape}"


def _described(value) -> list | None:
    if isinstance(value, TokenFile):
        return [f"{len(value):,} documents of {len(value.tokens):,} tokens", value.checksum]
    # A single text, or a record of numbers, is a setting.
    array = None if isinstance(value, str) or hasattr(value, "_fields") else _as_array(value)
    if array is not None:
        return [words_of_array(array.shape, array.dtype.name), _checksum(array)]
    if not isinstance(value, (list, tuple)) or hasattr(value, "_fields") or not value:
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
