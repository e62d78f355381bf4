"""Each process's rows of the batches that all of them train on."""

from typing import Any

import keras

from keras_griffin.models.training.batches_of_rows import makes_rows
from keras_griffin.models.training.dataset_view import DatasetView


class LocalRows(DatasetView):
    """The rows of every batch that one process reads, if several train one model.

    Process i of P gets rows i B / P to (i + 1) B / P - 1 of the batch of B rows that a single process would get. So a
    run of many processes sees the same data as a run of one. Of `PackedDocuments` and `ConsecutiveChunks` a process
    reads its own rows alone; of other data it makes the whole batch and keeps its part.

    Keras shards `tf.data` datasets itself, and refuses others unless the distribution is created with
    `auto_shard_dataset=False`, which this dataset needs.

    Args:
        data: a `keras.utils.PyDataset` whose batches depend only on their index (and epoch), such as
            `keras_griffin.training.RandomWindows`.
        index: i, the part that this process reads; None for that of the active `keras.distribution`.
        count: P, the number of parts; None for that of the active `keras.distribution`. Processes that hold parts of
            the same replica of a model read the same rows.

    Attributes:
        epoch: of `data`.

    Raises:
        ValueError: `index` and `count` are not given together, or are out of range; neither is given and no
            distribution is active; or P does not divide a batch.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.distribution import LocalRows
        >>> from keras_griffin.training import RandomWindows
        >>> windows = RandomWindows(np.arange(100, dtype="uint8"), 8, batch_size=4, num_batches=3)
        >>> tuple(LocalRows(windows, index=0, count=2)[0][0].shape)
        (2, 8)
    """

    def __init__(self, data: keras.utils.PyDataset, index: int | None = None, count: int | None = None, **kwargs: Any):
        super().__init__(data, **kwargs)
        if (index is None) != (count is None):
            raise ValueError(f"LocalRows: index and count must be given together. Got {index} and {count}.")
        if index is None or count is None:
            distribution = keras.distribution.distribution()
            if distribution is None:
                raise ValueError("LocalRows: index and count must be given if no distribution is active. Got none.")
            index = distribution.data_shard_id
            count = min(distribution.num_processes, distribution.num_model_replicas)
        if not 0 <= index < count:
            raise ValueError(f"LocalRows: index must be from 0 to count - 1. Got {index} of {count}.")
        self.index = index
        self.count = count
        if makes_rows(data):
            self._bounds(data.batch_size)

    @property
    def whole(self) -> keras.utils.PyDataset:
        """`data`: what all processes read together, however many they are."""
        return self.data

    def __getitem__(self, index):
        if makes_rows(self.data):
            return self.data.rows(index, *self._bounds(self.data.batch_size))
        return keras.tree.map_structure(self._part, self.data[index])

    def _part(self, rows):
        return rows[slice(*self._bounds(len(rows)))]

    def _bounds(self, rows):
        if rows % self.count:
            raise ValueError(f"LocalRows: count must divide the batch. Got {self.count} parts and {rows} rows.")
        return self.index * rows // self.count, (self.index + 1) * rows // self.count
