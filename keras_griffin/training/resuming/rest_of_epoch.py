"""The part of an epoch that is left."""

import keras

from keras_griffin.models.dataset_view import DatasetView


class RestOfEpoch(DatasetView):
    """A dataset whose epoch begins at one of its batches.

    `fit` asks anew in each epoch how many batches there are, so `start` may be moved between epochs; but it reads the
    length that it reckons with when it starts, and warns where an epoch has less.

    Args:
        data: a dataset with `num_batches`, and an attribute `epoch` on which, with the index, its batches depend alone.
        start: the index of the batch that comes first.

    Raises:
        ValueError: `data` is no such dataset, or `start` no batch of it.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.training import RandomWindows, RestOfEpoch
        >>> windows = RandomWindows(np.arange(100, dtype="uint8"), sequence_length=8, batch_size=4, num_batches=10)
        >>> rest = RestOfEpoch(windows, start=7)
        >>> rest.num_batches, (rest[0][0] == windows[7][0]).all().item()
        (3, True)
    """

    def __init__(self, data: keras.utils.PyDataset, start: int = 0):
        if not isinstance(data, keras.utils.PyDataset) or not hasattr(data, "epoch") or not data.num_batches:
            raise ValueError(
                "RestOfEpoch: data must be a keras.utils.PyDataset with a number of batches, and with an attribute "
                "`epoch` on which its batches depend and which says where they go on (0, and never read, where no "
                f"batch depends on it). Got {type(data).__name__}."
            )
        if not 0 <= start < data.num_batches:
            raise ValueError(
                f"RestOfEpoch: start must be the index of a batch. Got {start} of {data.num_batches} batches."
            )
        super().__init__(
            data,
            workers=data.workers,
            use_multiprocessing=data.use_multiprocessing,
            max_queue_size=data.max_queue_size,
        )
        self.start = start

    @property
    def num_batches(self):
        """How many are left."""
        return self.data.num_batches - self.start

    def __getitem__(self, index):
        return self.data[self.start + index]
