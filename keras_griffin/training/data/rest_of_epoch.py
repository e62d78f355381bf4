"""The rest of an epoch."""

import keras

from keras_griffin.models.training.dataset_view import DatasetView


class RestOfEpoch(DatasetView):
    """A dataset whose epoch begins at one of its batches.

    `fit` reads the number of batches again in each epoch, so `start` may change between epochs; but it takes the
    expected length when it starts, and warns if an epoch has fewer.

    Args:
        data: a dataset with `num_batches`, and an attribute `epoch`; its batches depend only on that and their index.
        start: the index of the first batch.

    Raises:
        ValueError: `data` is not such a dataset, or `start` is not a batch of it.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.training import RandomWindows, RestOfEpoch
        >>> text = np.arange(100, dtype="uint8")
        >>> windows = RandomWindows(text, sequence_length=8, batch_size=4, num_batches=10)
        >>> rest = RestOfEpoch(windows, start=7)
        >>> rest.num_batches, (rest[0][0] == windows[7][0]).all().item()
        (3, True)
    """

    def __init__(self, data: keras.utils.PyDataset, start: int = 0):
        if not isinstance(data, keras.utils.PyDataset) or not hasattr(data, "epoch") or not data.num_batches:
            raise ValueError(
                "RestOfEpoch: data must be a keras.utils.PyDataset with a number of batches, and with an attribute "
                "`epoch` that determines its batches (if they do not depend on the epoch, set it to 0). "
                f"Got {type(data).__name__}."
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
        """The number of batches left."""
        return self.data.num_batches - self.start

    def __getitem__(self, index):
        return self.data[self.start + index]
