"""Read a checkpoint of PyTorch as NumPy arrays."""

import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import torch

from keras_griffin.files import StoredTensor

#: What PyTorch's reader raises at bytes that are not a checkpoint's, found with random ones.
_UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, RuntimeError, EOFError, TypeError, ValueError),
    *(LookupError, AssertionError, AttributeError, OverflowError),
)


def open_torch(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a `.pt` or `.bin` file, memory-mapped if its format allows it; no code in it is run.

    Args:
        path: the file.

    Returns:
        `StoredTensor`s by name, those of nested dictionaries joined by dots.

    Raises:
        ValueError: the file is truncated, or has contents other than tensors.
    """
    try:
        # Files of PyTorch before 1.6 are not archives, and can't be mapped.
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        return {name: _stored(tensor) for name, tensor in _leaves(saved, ())}
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"open_checkpoint: a {path.suffix} file must contain tensors by name, and no code. "
            f"Got {str(path)!r}: {reason}"
        ) from error


def _leaves(tree, names) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(tree, torch.Tensor):
        # By its strides, a tensor may repeat its bytes any number of times.
        if tree.numel() * tree.element_size() > tree.untyped_storage().nbytes():
            raise ValueError(f"{'.'.join(names)} must have the bytes of its shape {tuple(tree.shape)}.")
        yield ".".join(names), tree.detach()
    elif isinstance(tree, Mapping):
        for name, branch in tree.items():
            yield from _leaves(branch, (*names, str(name)))
    else:
        raise TypeError(f"{'.'.join(names) or 'The file'} is a {type(tree).__name__}.")


def _stored(tensor) -> StoredTensor:
    if tensor.dtype == torch.bfloat16:
        dtype = np.dtype(ml_dtypes.bfloat16)
        return StoredTensor(tuple(tensor.shape), dtype, lambda: tensor.view(torch.int16).numpy().view(dtype))
    return StoredTensor(tuple(tensor.shape), tensor.numpy().dtype, tensor.numpy)
