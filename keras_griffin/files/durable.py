"""Files that survive a loss of power."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_griffin.files import atomic_file


@contextlib.contextmanager
def durable_file(path: str | os.PathLike) -> Iterator[Path]:
    """Like `atomic_file`, but at the end of the block the file is on disk, not only in the system's cache.

    A file is renamed after its bytes have reached the disk, and its folder is synced after that: in any other order, a
    power failure in between may leave the new name without contents.

    Args:
        path: of the file; its folder must exist.

    Yields:
        The path to write to.
    """
    path = Path(os.path.realpath(path))
    with atomic_file(path) as aside:
        yield aside
        _sync(aside)
    sync_folder(path.parent)


def remove_parts(folder: Path, name: str) -> None:
    """Remove the partial files of `atomic_file` that a process left in a folder, as after SIGKILL.

    Args:
        folder: need not exist; no other process may be writing to it.
        name: of the intended file, or a pattern of such names.
    """
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
