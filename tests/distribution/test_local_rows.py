import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows
from keras_griffin.training import PackedDocuments


class Rows(keras.utils.PyDataset):
    """Batches of four rows: inputs by name, targets, weights."""

    num_batches = 3
    epoch = 0
    begun = 0

    def __getitem__(self, index):
        rows = np.arange(4) + 10 * index + 100 * self.epoch
        return {"token_ids": rows[:, None], "segment_ids": -rows[:, None]}, rows, rows / 2

    def on_epoch_begin(self):
        self.begun += 1

    def on_epoch_end(self):
        self.epoch += 1


def test_the_parts_are_the_batch():
    parts = [LocalRows(Rows(), index, 2)[1] for index in range(2)]
    joined = keras.tree.map_structure(lambda *rows: np.concatenate(rows), *parts)
    keras.tree.map_structure(np.testing.assert_array_equal, joined, Rows()[1])
    assert parts[1][1].tolist() == [12, 13]


def test_epochs_are_those_of_the_data():
    data = Rows()
    part = LocalRows(data, 0, 4)
    part.on_epoch_begin()
    part.on_epoch_end()
    assert (part.num_batches, part.epoch, data.begun, part[0][1].tolist()) == (3, 1, 1, [100])
    part.epoch = 5
    assert data.epoch == 5


def test_the_active_distribution_says_which_part(monkeypatch):
    class Distribution:
        num_processes, num_model_replicas, data_shard_id = 4, 2, 1

    monkeypatch.setattr(keras.distribution, "distribution", Distribution)
    assert (LocalRows(Rows()).index, LocalRows(Rows()).count) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((1, None), "index and count must be given together. Got 1 and None."),
        ((), "index and count must be given if no distribution is active. Got none."),
        ((2, 2), "index must be from 0 to count - 1. Got 2 of 2."),
    ],
)
def test_what_names_no_part_is_refused(arguments, sentence):
    with pytest.raises(ValueError) as error:
        LocalRows(Rows(), *arguments)
    assert str(error.value) == f"LocalRows: {sentence}"


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match=r"^LocalRows: count must divide the batch. Got 3 parts and 4 rows.$"):
        LocalRows(Rows(), 0, 3)[0]
    with pytest.raises(ValueError, match=r"^LocalRows: count must divide the batch. Got 3 parts and 4 rows.$"):
        LocalRows(PackedDocuments([np.arange(9)], sequence_length=4, batch_size=4), 0, 3)
