import keras
import numpy as np
import pytest

from keras_griffin.training import RandomWindows, RestOfEpoch

pytestmark = pytest.mark.any_backend


def windows():
    return RandomWindows(np.arange(100, dtype="uint8"), 8, 4, num_batches=5)


def test_it_begins_at_its_start_and_can_be_moved():
    rest = RestOfEpoch(windows(), start=3)
    assert rest.num_batches == 2
    np.testing.assert_array_equal(rest[1][0], windows()[4][0])
    rest.start = 0
    assert rest.num_batches == 5
    np.testing.assert_array_equal(rest[4][0], windows()[4][0])


def test_its_epoch_is_that_of_the_data():
    data = windows()
    rest = RestOfEpoch(data)
    rest.on_epoch_begin()
    rest.on_epoch_end()
    assert (rest.epoch, data.epoch) == (1, 1)
    rest.epoch = 7
    assert data.epoch == 7


class NoEpoch(keras.utils.PyDataset):
    num_batches = 3


class NoEnd(keras.utils.PyDataset):
    num_batches = None
    epoch = 0


def test_what_cannot_go_on_anywhere_and_a_start_that_is_no_batch_are_refused():
    for data in (NoEpoch(), NoEnd(), np.zeros(3)):
        with pytest.raises(ValueError, match=f"RestOfEpoch: data must be a .* Got {type(data).__name__}."):
            RestOfEpoch(data)
    for start in (-1, 5):
        with pytest.raises(ValueError, match=f"start must be the index of a batch. Got {start} of 5 batches."):
            RestOfEpoch(windows(), start)
