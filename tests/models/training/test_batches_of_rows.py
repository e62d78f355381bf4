"""A process reads the documents of its rows alone."""

import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows
from keras_griffin.models.training.batches_of_rows import BatchesOfRows, makes_rows
from keras_griffin.training import ConsecutiveChunks, PackedDocuments, RandomWindows

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("kind", [PackedDocuments, ConsecutiveChunks])
def test_documents_outside_of_a_part_are_not_read(kind):
    """Also of the last batch, which is filled with rows of padding; unless a subclass changes whole batches."""

    class Documents(list):
        def __getitem__(self, number):
            read.add(number)
            return super().__getitem__(number)

    class Doubled(kind):
        def __getitem__(self, index):
            x, targets, weights = super().__getitem__(index)
            return x, targets, 2 * weights

    data = kind(Documents(np.full(8, number) for number in range(1, 14)), sequence_length=8, batch_size=4)
    for index in range(data.num_batches):
        read = set()
        whole, of_all = data[index], read
        parts, of_each = [], []
        for process in range(2):
            read = set()
            parts.append(LocalRows(data, process, 2)[index])
            of_each.append(read)
        joined = keras.tree.map_structure(lambda *rows: np.concatenate(rows), *parts)
        keras.tree.map_structure(np.testing.assert_array_equal, joined, whole)
        assert of_each[0] | of_each[1] == of_all and len(of_each[1]) < len(of_all)
    doubled = LocalRows(Doubled([np.arange(40)], sequence_length=8, batch_size=4), 0, 2)[0]
    assert doubled[2].max() == 2 and len(doubled[2]) == 2
    assert issubclass(kind, BatchesOfRows) and makes_rows(data)
    assert not makes_rows(RandomWindows(np.arange(9), 2, 2, 2))
