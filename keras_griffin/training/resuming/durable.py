"""Files that are whole even after a loss of power."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_griffin.files import atomic_file


@contextlib.contextmanager
def durable_file(path: str | os.PathLike) -> Iterator[Path]:
    """As `atomic_file`, and when the block is over the file is on the disk, not only in the system's memory.

    A file is renamed into its place after its bytes have reached the disk, and the folder that names it follows: in
    another order, power that fails in between leaves the new name with nothing behind it.

    Args:
        path: where the file will be; its folder exists.

    Yields:
        The path to write to.
    """
    path = Path(os.path.realpath(path))
    with atomic_file(path) as aside:
        yield aside
        _sync(aside)
    sync_folder(path.parent)


def remove_parts(folder: Path, name: str) -> None:
    """Remove what `atomic_file` has left in a folder where nothing could be cleared up, as after SIGKILL.

    Args:
        folder: which need not exist, and into which nobody else is writing.
        name: of the file that was to be, or a pattern of such names.
    """
    for path in folder.glob(f".{name}.partial-*"):
        shutil.rmtree(path)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk. Windows offers nothing of the kind, and keeps them by itself."""
    if os.name != "nt":
        _sync(folder)


def _sync(path):
    # Windows flushes only what is open for writing; a folder can only be opened for reading.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
