"""Open a file or folder of weights as tensors by name, each read on demand."""

import contextlib
import errno
import json
import math
import os
import textwrap
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np

from keras_griffin.conversion.orbax_checkpoint import open_orbax
from keras_griffin.files.safetensors import SafeTensors, StoredTensor

#: The files of weights in a folder. In shards, an index names them: `model.safetensors.index.json`.
SINGLES = ("model.safetensors", "pytorch_model.bin")
FOLDER_FILES = tuple(f"{single}{end}" for single in SINGLES for end in ("", ".index.json"))
#: What Python and NumPy raise at a damaged archive, header or compressed part.
_NOT_NPZ = (
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, NotImplementedError),
    *(EOFError, KeyError, SyntaxError, ValueError),
)
#: Files that identify an Orbax folder, in its different versions.
ORBAX_MARKS = ("_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt", "checkpoint")


def open_checkpoint(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """The tensors by name, not yet read, of a file, or of a folder of Hugging Face, PyTorch or Orbax.

    The names of nested trees are joined by dots. PyTorch and Orbax may be missing: an ImportError then names the
    package.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"open_checkpoint: the path must be a checkpoint. Got {str(path)!r}, which does not exist."
        )
    if not is_checkpoint(path):
        raise ValueError(
            f"open_checkpoint: the path must be a folder with {', '.join(FOLDER_FILES)} or an Orbax checkpoint, or a "
            f"file that ends in {', '.join(OPENERS)}. Got {str(path)!r}."
        )
    if path.is_file():
        return OPENERS[path.suffix](path)
    for single in SINGLES:
        index = path / f"{single}.index.json"
        if index.is_file():
            return _open_shards(index)
        if (path / single).is_file():
            return OPENERS[Path(single).suffix](path / single)
    return open_orbax(path)


def is_checkpoint(path: Path) -> bool:
    """Whether `open_checkpoint` recognises a path as a checkpoint."""
    if path.is_dir():
        return any((path / mark).exists() for mark in (*FOLDER_FILES, *ORBAX_MARKS))
    return path.is_file() and path.suffix in OPENERS


def _open_safetensors(path) -> dict[str, StoredTensor]:
    tensors = SafeTensors(path)
    return {name: tensors.stored(name) for name in tensors}


def _open_shards(index) -> dict[str, StoredTensor]:
    try:
        shard_of = json.loads(index.read_text("utf-8"))["weight_map"]
        files = sorted(set(shard_of.values()))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"open_checkpoint: the index must have a weight_map. Got {str(index)!r}: {error}.") from error
    suffix = Path(index.name.removesuffix(".index.json")).suffix
    strange = [name for name in files if not isinstance(name, str) or Path(name).name != name]
    absent = [name for name in files if name not in strange and not (index.parent / name).is_file()]
    if strange or absent:
        raise ValueError(
            f"open_checkpoint: the shards must be in the folder of their index. Got {str(index)!r}, which names "
            f"{', '.join(map(str, strange or absent))}."
        )
    tensors: dict[str, StoredTensor] = {}
    for name in files:
        shard = OPENERS[suffix](index.parent / name)
        if set(shard) != {tensor for tensor, file in shard_of.items() if file == name}:
            raise ValueError(f"open_checkpoint: the index must match its shards. Got {name!r}, which differs.")
        tensors |= shard
    return tensors


def _open_npz(path) -> dict[str, StoredTensor]:
    with _refusals_of_npz(path), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        return {name: _stored_npy(path, archive, name) for name in names}


@contextlib.contextmanager
def _refusals_of_npz(path) -> Iterator[None]:
    try:
        yield
    except (*_NOT_NPZ, OSError) as error:
        # An archive may name a place outside itself; other errors of the system are not of the file.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        reason = textwrap.shorten(str(error), 300, placeholder="...")
        raise ValueError(
            f"open_checkpoint: the file must be a valid .npz of arrays. Got {str(path)!r}: {reason}."
        ) from error


def _stored_npy(path, archive, name) -> StoredTensor:
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        is_old = version == (1, 0)
        read_header = np.lib.format.read_array_header_1_0 if is_old else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        begin = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{name} must be an array of numbers")
    # DEFLATE compresses by a factor of at most 1032.
    entry, num_bytes = archive.getinfo(f"{name}.npy"), math.prod(shape) * dtype.itemsize
    if entry.file_size != begin + num_bytes or entry.file_size > 1032 * entry.compress_size:
        raise ValueError(f"{name} must have {num_bytes} bytes for shape {shape} of {dtype}")
    # NumPy stores bfloat16 as two untyped bytes.
    is_bfloat16 = dtype == np.dtype("V2")

    def read():
        with _refusals_of_npz(path), np.load(path, allow_pickle=False) as arrays:
            array = arrays[name]
        return array.view(ml_dtypes.bfloat16) if is_bfloat16 else array

    return StoredTensor(shape, np.dtype(ml_dtypes.bfloat16) if is_bfloat16 else dtype, read)


def _open_torch(path) -> dict[str, StoredTensor]:
    try:
        from keras_griffin.conversion.torch_checkpoint import open_torch
    except ImportError as error:
        raise ImportError(
            f"open_checkpoint: PyTorch must be installed to read {path.suffix}: pip install torch. Got {str(path)!r}."
        ) from error
    return open_torch(path)


#: By file name suffix.
OPENERS = {
    ".safetensors": _open_safetensors,
    ".npz": _open_npz,
    ".pt": _open_torch,
    ".bin": _open_torch,
    ".pth": _open_torch,
}
