"""A dataset that is another one, shown differently."""

import keras


class DatasetView(keras.utils.PyDataset):
    """A dataset whose batches are made of those of another one, and whose epochs are that one's.

    A subclass gives `__getitem__`. What looks into datasets finds the other one as `data`.

    Args:
        data: the other one.
        **kwargs: `workers`, `use_multiprocessing` and `max_queue_size` of `keras.utils.PyDataset`.

    Attributes:
        epoch: that of `data`; there is none where `data` has none.
    """

    def __init__(self, data: keras.utils.PyDataset, **kwargs):
        super().__init__(**kwargs)
        self.data = data

    @property
    def num_batches(self):
        """As many as `data` has."""
        return self.data.num_batches

    @property
    def epoch(self) -> int:
        """That of `data`."""
        return self.data.epoch

    @epoch.setter
    def epoch(self, epoch):
        self.data.epoch = epoch

    def on_epoch_begin(self):
        """Passed on."""
        self.data.on_epoch_begin()

    def on_epoch_end(self):
        """Passed on."""
        self.data.on_epoch_end()
