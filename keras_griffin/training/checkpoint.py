"""Keep the best model of a run in one file that is whole at every moment."""

import math
import os
import shutil
from pathlib import Path

import keras

from keras_griffin.training.resuming.durable import durable_file, remove_parts


class BestCheckpoint(keras.callbacks.Callback):
    """Save the model whenever an epoch ends with the least value so far of a quantity.

    Unlike `keras.callbacks.ModelCheckpoint` it writes beside the file and then renames, so a run that is cut off while
    it saves leaves the earlier model whole. `ResumableRun` remembers the least value.

    Args:
        path: ends in `.keras`.
        monitor: the quantity's name in the logs; less is better.
    """

    #: What `ResumableRun` keeps of it.
    kept = ("best",)

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
        """Remove what an earlier process has left that was killed while it saved."""
        remove_parts(self.path.parent, self.path.name)

    def on_epoch_end(self, epoch, logs=None):
        """Save when the quantity is less than ever before."""
        if logs[self.monitor] < self.best:
            save_whole(self.model, self.path)
            self.best = logs[self.monitor]

    def save_for_now(self, value: float, aside: str | os.PathLike) -> None:
        """Save the model of half an epoch where it is the best, for as long as the run does not go on.

        Args:
            value: of the quantity.
            aside: where the earlier best model waits for `take_back`.
        """
        if not value < self.best:
            return
        if self.is_saved:
            with durable_file(aside) as copy:
                shutil.copyfile(self.path, copy)
        save_whole(self.model, self.path)
        self.best = value

    def take_back(self, aside: str | os.PathLike) -> None:
        """Undo `save_for_now`: a run that goes on must find what it would have without the pause."""
        if Path(aside).exists():
            os.replace(aside, self.path)


def save_whole(model: keras.Model, path: str | os.PathLike) -> None:
    """Save a model so that the file at `path` is at every moment the old one or the new one, never a part."""
    with durable_file(path) as aside:
        model.save(aside)
