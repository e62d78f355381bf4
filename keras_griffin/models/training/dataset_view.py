"""A dataset that presents another one differently."""

import keras


class DatasetView(keras.utils.PyDataset):
    """A dataset whose batches a subclass's `__getitem__` derives from those of `data`, with the same epochs, if any."""

    def __init__(self, data: keras.utils.PyDataset, **kwargs):
        super().__init__(**kwargs)
        self.data = data

    @property
    def num_batches(self):
        """The number of batches of `data`."""
        return self.data.num_batches

    @property
    def epoch(self) -> int:
        """The epoch of `data`."""
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
