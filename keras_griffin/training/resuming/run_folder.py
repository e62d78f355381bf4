"""The files of a run, the newest of which counts."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_griffin.training.resuming.durable import remove_parts, sync_folder
from keras_griffin.training.resuming.run_file import RunFile, read_run, write_run

_PREFIX, _WHOLE, _DAMAGED = "step-", ".safetensors", ".damaged"


class RunFolder:
    """A folder with a file for each of the newest moments that a run saved.

    Args:
        folder: which need not exist.
        keep: how many files are kept.
    """

    def __init__(self, folder: str | os.PathLike, keep: int):
        self.folder = Path(folder)
        self.keep = keep

    def paths(self) -> list[Path]:
        """The files, the newest first."""
        return self._paths(_WHOLE)

    def read_newest(self) -> RunFile | None:
        """The newest moment whose file is whole, or None where none was saved; damaged files are renamed.

        Raises:
            ValueError: there are files, and each is damaged.
        """
        damaged = {}
        for path in self.paths():
            try:
                saved = read_run(path)
            except (ValueError, OSError) as error:
                damaged[path] = error
                continue
            for other, error in damaged.items():
                # Out of the way, or it would be taken for the newest again.
                os.replace(other, other.with_suffix(_DAMAGED))
                warnings.warn(
                    f"ResumableRun: {str(other)!r} is damaged, so the run goes on from {path.name}: {error}",
                    stacklevel=3,
                )
            return saved
        if damaged:
            names = " and ".join(path.name for path in damaged)
            raise ValueError(
                f"ResumableRun: a run must have a file that is whole. Got {names} in {str(self.folder)!r}, damaged."
            )
        return None

    def write(self, step: int, tensors: Mapping[str, np.ndarray], facts: dict) -> None:
        """Save one moment, and then let go of those that are older than the ones to be kept."""
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            sync_folder(self.folder.parent)
        write_run(self.folder / f"{_PREFIX}{step:09d}{_WHOLE}", tensors, facts)
        for path in self.paths()[self.keep :]:
            path.unlink()

    def remove_parts(self) -> None:
        """Remove what an end in the middle of a save has left."""
        remove_parts(self.folder, f"{_PREFIX}*")

    def remove(self) -> None:
        """Remove all of the run; the folder too, where nothing else is in it."""
        self.remove_parts()
        for path in self._paths(_WHOLE) + self._paths(_DAMAGED):
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _paths(self, suffix):
        return sorted(self.folder.glob(f"{_PREFIX}*{suffix}"), reverse=True)
