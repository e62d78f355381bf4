"""Atomic writing: at every moment a file or folder is the old one or the new one, never partial."""

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Write a temporary file, and move it into place when it is complete.

    If the block ends early, even by Ctrl-C, the old file stays unchanged, and nothing is left beside it. Two writers of
    one path don't interfere: the last one to finish wins.

    Args:
        path: where the file will be; its folder exists.

    Yields:
        The path to write to: of the same name, in a temporary folder beside `path`.
    """
    path = Path(os.path.realpath(path))
    with _folder_beside(path) as aside:
        yield aside / path.name
        os.replace(aside / path.name, path)


@contextlib.contextmanager
def atomic_folder(
    path: str | os.PathLike, replaces: Collection[str] = (), *, function_name: str = "atomic_folder"
) -> Iterator[Path]:
    """Fill a temporary folder, and move it into place when it is complete.

    An old folder is replaced as a whole, so a ValueError is raised if it contains names other than `replaces`.
    """
    if not os.fspath(path):
        # It would be the current folder.
        raise ValueError(f"{function_name}: the path of a folder must not be empty. Got {path!r}.")
    path = Path(os.path.realpath(path))
    _check_replaceable(path, replaces, function_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _folder_beside(path) as aside:
        new, old = aside / path.name, aside / f"old {path.name}"
        new.mkdir()
        yield new
        _check_replaceable(path, replaces, function_name)
        if path.exists():
            os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            if old.exists():
                os.rename(old, path)
            raise


def _check_replaceable(path, replaces, function_name):
    above = next(place for place in (path, *path.parents) if place.exists())
    if not above.is_dir():
        raise ValueError(
            f"{function_name}: the path must be a folder or not exist yet, and its parents must be folders. "
            f"Got {str(path)!r}, where {str(above)!r} is a file."
        )
    strangers = sorted({entry.name for entry in path.iterdir()} - set(replaces)) if path.exists() else []
    if strangers:
        raise ValueError(
            f"{function_name}: a folder to be replaced must contain nothing that would be lost. "
            f"Got {str(path)!r} with {', '.join(strangers)}."
        )


@contextlib.contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A folder on the same file system, so that renaming is atomic; it is removed with everything left in it."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.partial-", dir=path.parent) as aside:
        yield Path(aside)
