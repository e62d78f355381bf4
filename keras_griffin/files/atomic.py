"""Files and folders that are at every moment the old ones or the new ones, never a part."""

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file aside, and put it in its place when it is whole.

    Whatever ends the block early, also Ctrl-C, leaves the earlier file as it was and nothing beside it. Two writers of
    one path don't meet: the last one to finish has it.

    Args:
        path: where the file will be; its folder exists.

    Yields:
        The path to write to: of the same name, in a folder of its own beside `path`.
    """
    path = Path(os.path.realpath(path))
    with _folder_beside(path) as aside:
        yield aside / path.name
        os.replace(aside / path.name, path)


@contextlib.contextmanager
def atomic_folder(
    path: str | os.PathLike, replaces: Collection[str] = (), *, function_name: str = "atomic_folder"
) -> Iterator[Path]:
    """Fill a folder aside, and put it in its place when it is whole.

    A folder that is there already is replaced as a whole, so it must hold nothing but what the writer knows. Between
    the renaming of the old one and that of the new one, for an instant, there is none.

    Args:
        path: where the folder will be; folders above it are made.
        replaces: the names that an old folder may hold.
        function_name: in whose name errors speak.

    Yields:
        The folder to fill.

    Raises:
        ValueError: the path is empty, a file stands at it or above it, or a folder that holds something else.
    """
    if not os.fspath(path):
        # It would be the folder at hand.
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
            f"{function_name}: there must be a folder or nothing at the path, and folders above it. "
            f"Got {str(path)!r}, where {str(above)!r} is a file."
        )
    strangers = sorted({entry.name for entry in path.iterdir()} - set(replaces)) if path.exists() else []
    if strangers:
        raise ValueError(
            f"{function_name}: a folder that is replaced must hold nothing that would be lost. "
            f"Got {str(path)!r} with {', '.join(strangers)}."
        )


@contextlib.contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A folder on the same file system, where renaming is one step; it and what is left in it are removed."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.partial-", dir=path.parent) as aside:
        yield Path(aside)
