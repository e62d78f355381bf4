"""The files of a run; the newest one counts."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from keras_griffin.files.durable import remove_parts, sync_folder
from keras_griffin.files.folder_lock import folder_lock
from keras_griffin.training.resuming.run_file import RunFile, read_run, write_run

_PREFIX, _WHOLE, _DAMAGED, _LOCK = "step-", ".safetensors", ".damaged", "lock"


class RunFolder:
    """A folder with the latest `keep` snapshots of a run, one file each; it need not exist."""

    def __init__(self, folder: str | os.PathLike, keep: int):
        self.folder = Path(folder)
        self.keep = keep

    def paths(self) -> list[Path]:
        """The files, newest first."""
        return self._paths(_WHOLE)

    def path_of(self, step: int) -> Path:
        """The file of a step."""
        return self.folder / f"{_PREFIX}{step:09d}{_WHOLE}"

    def read_newest(self) -> RunFile | None:
        """The newest snapshot whose file is intact, or None if there is no file; damaged files are renamed."""
        # The sentences alone: an exception would keep the file mapped, and Windows could not rename it.
        damaged: dict[Path, str] = {}
        for path in self.paths():
            try:
                saved = read_run(path)
            except (ValueError, OSError) as error:
                damaged[path] = str(error)
                continue
            for other, reason in damaged.items():
                # Renamed, so that it is not taken for the newest again; another process may have done so already.
                with contextlib.suppress(FileNotFoundError):
                    os.replace(other, other.with_suffix(_DAMAGED))
                warnings.warn(
                    f"ResumableRun: {str(other)!r} is damaged, so the run resumes from {path.name}: {reason}",
                    stacklevel=3,
                )
            return saved
        if damaged:
            names = " and ".join(path.name for path in damaged)
            raise ValueError(
                f"ResumableRun: a run must have an intact file. Got {names} in {str(self.folder)!r}, damaged."
            )
        return None

    def write(self, step: int, tensors: Mapping[str, np.ndarray], facts: dict) -> None:
        """Save a snapshot, then remove all but the latest `keep`; if that fails, the earlier ones are unchanged."""
        self._make()
        try:
            write_run(self.path_of(step), tensors, facts)
        except OSError as error:
            kept = [path.name for path in self.paths()[:1]]
            remains = f"the run can resume from {kept[0]}" if kept else "nothing of the run is saved"
            sentence = f"ResumableRun: step {step} must be saved. Got {error.strerror or error}; {remains}"
            raise OSError(error.errno, sentence, str(self.folder)) from error
        for path in self.paths()[self.keep :]:
            # Windows does not remove a file that another process reads; a later save does.
            with contextlib.suppress(PermissionError):
                path.unlink()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder inside the `with` block; afterwards, remove it if it is empty."""
        self._make()
        try:
            with folder_lock(self.folder / _LOCK, "ResumableRun"):
                yield
        finally:
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def remove_parts(self) -> None:
        """Remove the partial files of an interrupted save."""
        remove_parts(self.folder, f"{_PREFIX}*")

    def remove(self) -> None:
        """Remove all files of the run, and the folder if it is empty then."""
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
            sentence = f"ResumableRun: the folder must exist, or it must be possible to create it. Got {error.strerror}"
            raise OSError(error.errno, sentence, str(self.folder)) from error
        sync_folder(self.folder.parent)

    def _paths(self, suffix):
        return sorted(self.folder.glob(f"{_PREFIX}*{suffix}"), reverse=True)
