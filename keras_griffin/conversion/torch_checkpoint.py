"""Read a checkpoint of PyTorch as NumPy arrays."""

import errno
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch

from keras_griffin.files.safetensors import DTYPES, StoredTensor

_DTYPES = {dtype.name for dtype in DTYPES.values()}
#: A pickle may refer to one dictionary any number of times, also from inside it.
_MOST_LEVELS, _MOST_ENTRIES = 32, 2**20
#: What PyTorch's reader raises at bytes that are not a checkpoint's, found with random ones.
_UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, RuntimeError, EOFError, TypeError, ValueError),
    *(LookupError, AssertionError, AttributeError, OverflowError),
)


def open_torch(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a `.pt` or `.bin` file, memory-mapped if its format allows it; no code in it is run."""
    try:
        # Files of PyTorch before 1.6 are not archives, and can't be mapped.
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (*_UNREADABLE, OSError) as error:
        # An archive may name a place outside itself; other errors of the system are not of the file.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        # PyTorch's message is left out: it advises loading the file together with its code.
        raise _refusal(path, "which is damaged or has something else") from None
    return {name: _stored(tensor) for name, tensor in _leaves(saved, path).items()}


def _leaves(tree: Any, path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a tree of dictionaries, by their names joined by dots."""
    found: dict[str, torch.Tensor] = {}
    pending: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    for _ in range(_MOST_ENTRIES):
        if not pending:
            return found
        names, branch = pending.pop()
        name = ".".join(names) or "the file"
        if isinstance(branch, torch.Tensor):
            found[".".join(names)] = _checked(branch, name, path)
        elif not isinstance(branch, Mapping) or not all(isinstance(key, str) for key in branch):
            raise _refusal(path, f"where {name} is of type {type(branch).__name__}, not a tensor or tensors by name")
        elif len(names) == _MOST_LEVELS:
            raise _refusal(path, f"which has more than {_MOST_LEVELS} levels")
        else:
            pending += [((*names, key), branch[key]) for key in reversed(branch)]
    raise _refusal(path, f"which has more than {_MOST_ENTRIES} entries")


def _checked(tensor, name, path) -> torch.Tensor:
    is_dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not is_dense or str(tensor.dtype).removeprefix("torch.") not in _DTYPES:
        raise _refusal(path, f"where {name} is not a dense tensor of {', '.join(sorted(_DTYPES))}")
    # By its strides, a tensor may repeat its bytes any number of times.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise _refusal(path, f"where {name} lacks the bytes of its shape {tuple(tensor.shape)}")
    return tensor.detach()


def _refusal(path, reason) -> ValueError:
    return ValueError(
        f"open_checkpoint: a {path.suffix} file must contain tensors by name, and no code. Got {str(path)!r}, {reason}."
    )


def _stored(tensor) -> StoredTensor:
    if tensor.dtype == torch.bfloat16:
        dtype = np.dtype(ml_dtypes.bfloat16)
        return StoredTensor(tuple(tensor.shape), dtype, lambda: tensor.view(torch.int16).numpy().view(dtype))
    return StoredTensor(tuple(tensor.shape), tensor.numpy().dtype, tensor.numpy)
