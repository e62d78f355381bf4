"""Keep the best model of a run in one file, replaced atomically."""

import math
import os
import shutil
from pathlib import Path

import keras

from keras_griffin.files.durable import durable_file, remove_parts


class BestCheckpoint(keras.callbacks.Callback):
    """Save the model whenever an epoch ends with the lowest value so far of a quantity.

    Unlike `keras.callbacks.ModelCheckpoint` it writes to a temporary file and then renames it, so a run that is killed
    while saving leaves the earlier model intact. `ResumableRun` remembers the lowest value.

    Args:
        path: ends in `.keras`.
        monitor: the quantity's name in the logs; lower is better.
    """

    #: The attributes that `ResumableRun` saves.
    saved_attributes = ("best",)

    def __init__(self, path: str | os.PathLike, monitor: str = "val_loss"):
        super().__init__()
        self.path = Path(path)
        self.monitor = monitor
        self.best = math.inf

    @property
    def is_saved(self) -> bool:
        """Whether this run has written the file."""
        return self.best < math.inf

    def on_train_begin(self, logs=None):
        """Remove the partial file of an earlier process that was killed while saving."""
        remove_parts(self.path.parent, self.path.name)

    def on_epoch_end(self, epoch, logs=None):
        """Save if the quantity has a new minimum."""
        if logs[self.monitor] < self.best:
            save_atomically(self.model, self.path)
            self.best = logs[self.monitor]

    def save_provisional(self, value: float, aside: str | os.PathLike) -> None:
        """Save the model of a partial epoch if it is the best, until the run resumes.

        The earlier best model is kept in `aside` for `restore_previous`.
        """
        if not value < self.best:
            return
        if self.is_saved:
            with durable_file(aside) as copy:
                shutil.copyfile(self.path, copy)
        save_atomically(self.model, self.path)
        self.best = value

    def restore_previous(self, aside: str | os.PathLike) -> None:
        """Undo `save_provisional`: a resumed run must find the same file as an uninterrupted one."""
        if Path(aside).exists():
            os.replace(aside, self.path)


def save_atomically(model: keras.Model, path: str | os.PathLike) -> None:
    """Save a model, replacing the file at `path` atomically."""
    with durable_file(path) as aside:
        model.save(aside)
