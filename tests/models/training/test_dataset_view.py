import keras
import pytest

from keras_griffin.models.training.dataset_view import DatasetView

pytestmark = pytest.mark.any_backend


class Counted(keras.utils.PyDataset):
    num_batches = 3
    epoch = 0

    def on_epoch_begin(self):
        self.epoch += 1

    def on_epoch_end(self):
        self.epoch += 10


def test_epochs_are_those_of_the_data():
    data = Counted()
    view = DatasetView(DatasetView(data))
    view.on_epoch_begin()
    view.on_epoch_end()
    assert (view.num_batches, view.epoch, data.epoch) == (3, 11, 11)
    view.epoch = 5
    assert data.epoch == 5
    assert not hasattr(DatasetView(keras.utils.PyDataset()), "epoch")
