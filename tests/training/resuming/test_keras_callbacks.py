"""What docs/guides/resuming.md says of Keras's own callbacks. Where a release mends something, the page must say so."""

import json

import keras
import numpy as np
import pytest

from tests.training.resuming.cut_off_run import NUM_BATCHES, make_data, make_model, values

pytestmark = pytest.mark.trainable
CUT = NUM_BATCHES + 3


class PowerLoss(Exception):
    pass


class CutOff(keras.callbacks.Callback):
    steps = 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.steps == CUT:
            raise PowerLoss
        self.steps += 1


@pytest.fixture
def backup(tmp_path):
    """The folder that a process left which was cut off after `CUT` steps, having saved itself every two."""
    callback = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=2)
    with pytest.raises(PowerLoss):
        make_model().fit(make_data(), epochs=2, shuffle=False, callbacks=[callback, CutOff()], verbose=0)
    return tmp_path / "backup"


def go_on(folder, data=None, **settings):
    model, callback = make_model(seed=1, **settings), keras.callbacks.BackupAndRestore(folder, save_freq=2)
    model.fit(data or make_data(), epochs=2, shuffle=False, callbacks=[callback], verbose=0)
    return model


@pytest.mark.any_backend
def test_backup_begins_the_epoch_again_with_the_weights_of_its_middle(backup):
    class Noting(type(make_data())):
        taken = []

        def __getitem__(self, index):
            self.taken.append((self.epoch, index))
            return super().__getitem__(index)

    assert json.loads((backup / "training_metadata.json").read_text())["epoch"] == 1
    data = make_data()
    data.__class__ = Noting
    model = go_on(backup, data)
    # All five, though two or three of them had been trained on; and those of the first epoch, not of the second.
    assert {batch for batch in Noting.taken if batch[0] == 1} == {(1, index) for index in range(NUM_BATCHES)}
    undisturbed = make_model()
    undisturbed.fit(make_data(), epochs=2, shuffle=False, verbose=0)
    assert values(model) != values(undisturbed)


def test_backup_writes_in_place_so_what_is_cut_off_cannot_be_read(backup):
    path = backup / "latest.weights.h5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(OSError, match="truncated"):
        go_on(backup)


@pytest.mark.any_backend
def test_backup_goes_on_with_other_settings_and_with_a_changed_bit(backup):
    path = backup / "latest.weights.h5"
    # Among the bytes of the largest weights.
    content = bytearray(path.read_bytes())
    reference = make_model()
    reference.optimizer.build(reference.trainable_variables)
    reference.load_weights(path)
    kernel = np.ascontiguousarray(keras.ops.convert_to_numpy(reference.layers[0].embeddings.value)).tobytes()
    content[content.index(kernel[:64]) + 3] ^= 0x04
    path.write_bytes(content)
    go_on(backup, make_data(seed=7), weight_decay=0.5)
