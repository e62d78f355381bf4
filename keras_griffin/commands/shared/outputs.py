"""Checks of `--output`, before anything is computed."""

import os
from collections.abc import Iterable
from pathlib import Path

from keras_griffin.commands.shared.errors import CommandError


def check_new_file(command: str, path: str, overwrite: bool, option: str = "--output") -> None:
    """Refuse a path that can't be a file, or is one that may not be replaced."""
    folder, name = os.path.split(path)
    if not name or os.path.isdir(path) or not os.path.isdir(folder or "."):
        raise CommandError(f"{command}: {option} must be a file in a folder that exists. Got {path!r}.")
    if os.path.exists(path) and not overwrite:
        raise CommandError(
            f"{command}: {option} must be a new file; --overwrite replaces it. Got {path!r}, which exists."
        )


def check_new_folder(command: str, path: str, overwrite: bool, option: str) -> None:
    """Refuse a folder that holds anything, unless that may be replaced."""
    if os.path.isdir(path) and not overwrite and (held := sorted(os.listdir(path))):
        raise CommandError(
            f"{command}: {option} must be a new folder, or an empty one; --overwrite replaces an earlier result. "
            f"Got {path!r}, which has {', '.join(held[:3])}{' and more' * (len(held) > 3)}."
        )


def check_outside_text(command: str, folder: Path, files: Iterable[str], received: str) -> None:
    """Refuse a folder within the text, which a later command would read."""
    # A folder may have several paths, through links and `.`.
    place = Path(os.path.realpath(folder))
    around = [parent for parent in (place, *place.parents) if parent.exists()]
    for path in files:
        if os.path.isdir(path) and any(os.path.samefile(path, parent) for parent in around):
            raise CommandError(
                f"{command}: --output must be a folder outside the text. Got {received}, within {path!r}."
            )
