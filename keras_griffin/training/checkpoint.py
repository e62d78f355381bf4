"""Keep the best model of a run in one file that is whole at every moment."""

import math
import os
from pathlib import Path

import keras

from keras_griffin.files import whole_file


class BestCheckpoint(keras.callbacks.Callback):
    """Save the model whenever an epoch ends with the least value so far of a quantity.

    Unlike `keras.callbacks.ModelCheckpoint` it writes beside the file and then renames, so a run that is cut off while
    it saves leaves the earlier model whole.

    Args:
        path: ends in `.keras`.
        monitor: the quantity's name in the logs; less is better.
    """

    def __init__(self, path: str | os.PathLike, monitor: str = "val_loss"):
        super().__init__()
        self.path = Path(path)
        self.monitor = monitor
        self.best = math.inf

    @property
    def is_saved(self) -> bool:
        """Whether this run has written the file."""
        return self.best < math.inf

    def on_epoch_end(self, epoch, logs=None):
        """Save when the quantity is less than ever before."""
        if logs[self.monitor] < self.best:
            save_whole(self.model, self.path)
            self.best = logs[self.monitor]


def save_whole(model: keras.Model, path: Path) -> None:
    """Save a model so that the file at `path` is at every moment the old one or the new one, never a part."""
    with whole_file(path) as aside:
        model.save(aside)
