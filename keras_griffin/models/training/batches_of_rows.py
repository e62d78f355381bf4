"""Batches of which each process reads only its rows."""

import keras


class BatchesOfRows(keras.utils.PyDataset):
    """A dataset whose `rows` makes any rows of a batch alone; `__getitem__` makes all."""

    batch_size: int

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.epoch = 0

    def __getitem__(self, index):
        return self.rows(index, 0, self.batch_size)

    def rows(self, index: int, start: int, stop: int) -> tuple:
        """Rows `start` to `stop - 1` of a batch."""
        raise NotImplementedError

    def on_epoch_end(self):
        """Advance to the next epoch, with a new order."""
        self.epoch += 1

    def check_index(self, index: int) -> None:
        """Check that there is such a batch."""
        if not 0 <= index < self.num_batches:
            name = type(self).__name__
            raise IndexError(f"{name}: a batch's index must be from 0 to {self.num_batches - 1}. Got {index}.")


def makes_rows(data: keras.utils.PyDataset) -> bool:
    """Whether `data` can make some rows of a batch alone, which a subclass with its own `__getitem__` may not want."""
    return getattr(type(data), "__getitem__", None) is BatchesOfRows.__getitem__
