"""The files of a run, the newest of which counts."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from keras_griffin.training.resuming.durable import remove_parts, sync_folder
from keras_griffin.training.resuming.run_file import RunFile, read_run, write_run
from keras_griffin.training.resuming.run_lock import run_lock

_PREFIX, _WHOLE, _DAMAGED, _LOCK = "step-", ".safetensors", ".damaged", "lock"


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

    def newest_step(self) -> int | None:
        """The step of the newest file, whole or not."""
        names = [path.name for path in self.paths()]
        return int(names[0].removeprefix(_PREFIX).removesuffix(_WHOLE)) if names else None

    def read_newest(self) -> RunFile | None:
        """The newest moment whose file is whole, or None where none was saved; damaged files are renamed.

        Raises:
            ValueError: there are files, and each is damaged.
        """
        damaged: dict[Path, Exception] = {}
        for path in self.paths():
            try:
                saved = read_run(path)
            except (ValueError, OSError) as error:
                damaged[path] = error
                continue
            for other, reason in damaged.items():
                # Out of the way, or it would be taken for the newest again; another process may have done so.
                with contextlib.suppress(FileNotFoundError):
                    os.replace(other, other.with_suffix(_DAMAGED))
                warnings.warn(
                    f"ResumableRun: {str(other)!r} is damaged, so the run goes on from {path.name}: {reason}",
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
        """Save one moment, and then let go of those that are older than the ones to be kept.

        Raises:
            OSError: the file can't be written, as on a full disk; the earlier ones are as they were.
        """
        self._make()
        try:
            write_run(self.folder / f"{_PREFIX}{step:09d}{_WHOLE}", tensors, facts)
        except OSError as error:
            kept = [path.name for path in self.paths()[:1]]
            remains = f"the run goes on from {kept[0]}" if kept else "nothing of the run is saved"
            sentence = f"ResumableRun: step {step} must be saved. Got {error.strerror or error}; {remains}"
            raise OSError(error.errno, sentence, str(self.folder)) from error
        for path in self.paths()[self.keep :]:
            path.unlink()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Inside the `with` block no other process has the folder; afterwards, what is empty is gone.

        Raises:
            ValueError: another has it.
            OSError: the folder can't be made.
        """
        self._make()
        try:
            with run_lock(self.folder / _LOCK):
                yield
        finally:
            self._remove_if_empty()

    def remove_parts(self) -> None:
        """Remove what an end in the middle of a save has left."""
        remove_parts(self.folder, f"{_PREFIX}*")

    def remove(self) -> None:
        """Remove all of the run; the folder too, where nothing else is in it.

        Raises:
            ValueError: another process trains in it.
        """
        with self.lock():
            self.remove_parts()
            for path in self._paths(_WHOLE) + self._paths(_DAMAGED):
                path.unlink()

    def _make(self):
        if self.folder.is_dir():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            sentence = f"ResumableRun: there must be a folder, or room for one. Got {error.strerror}"
            raise OSError(error.errno, sentence, str(self.folder)) from error
        sync_folder(self.folder.parent)

    def _remove_if_empty(self):
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _paths(self, suffix):
        return sorted(self.folder.glob(f"{_PREFIX}*{suffix}"), reverse=True)
