"""Files that survive a loss of power."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_griffin.files import atomic_file


@contextlib.contextmanager
def durable_file(path: str | os.PathLike) -> Iterator[Path]:
    """Like `atomic_file`, but at the end of the block the file is on disk, not only in the system's cache."""
    # It is renamed after its bytes have reached the disk, and its folder is synced after that: in any other order, a
    # power failure in between may leave the new name without contents.
    path = Path(os.path.realpath(path))
    with atomic_file(path) as aside:
        yield aside
        _sync(aside)
    sync_folder(path.parent)


def remove_parts(folder: Path, name: str) -> None:
    """Remove what `atomic_file` left of a name, or of a pattern of names, when its process was killed."""
    for path in folder.glob(f".{name}.partial-*"):
        shutil.rmtree(path)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk. Windows has no such call, and needs none."""
    if os.name != "nt":
        _sync(folder)


def _sync(path):
    # Windows flushes only files that are open for writing; a folder can only be opened for reading.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
