import keras
import numpy as np
import pytest

from keras_griffin.training import BestCheckpoint, save_atomically

pytestmark = pytest.mark.any_backend


def small_model(value=0.0):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.layers[0].bias.assign([value])
    return model


def saved_value(path):
    return float(np.asarray(keras.saving.load_model(path).layers[0].bias)[0])


def test_only_an_epoch_better_than_all_before_is_saved(tmp_path):
    checkpoint = BestCheckpoint(tmp_path / "model.keras", monitor="val_bits_per_byte")
    assert not checkpoint.is_saved
    saved = []
    for epoch, value in enumerate([3.0, 4.0, float("nan"), 2.0, 2.0]):
        checkpoint.set_model(small_model(epoch))
        checkpoint.on_epoch_end(epoch, {"val_bits_per_byte": value})
        saved.append(saved_value(tmp_path / "model.keras"))
    assert saved == [0.0, 0.0, 0.0, 3.0, 3.0]
    assert checkpoint.is_saved and checkpoint.best == 2.0


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_earlier_file_whole_and_nothing_beside_it(tmp_path, monkeypatch, error):
    path = tmp_path / "model.keras"
    save_atomically(small_model(1.0), path)
    model = small_model(2.0)

    def write_a_part(target):
        target.write_bytes(b"a part")
        raise error

    monkeypatch.setattr(model, "save", write_a_part)
    with pytest.raises(type(error)):
        save_atomically(model, path)
    assert saved_value(path) == 1.0
    assert list(tmp_path.iterdir()) == [path]


def test_the_model_of_half_an_epoch_is_kept_until_the_run_goes_on(tmp_path):
    path, aside = tmp_path / "model.keras", tmp_path / "aside.keras"
    checkpoint = BestCheckpoint(path)
    checkpoint.restore_previous(aside)
    checkpoint.set_model(small_model(1.0))
    checkpoint.on_epoch_end(0, {"val_loss": 3.0})
    checkpoint.set_model(small_model(2.0))
    checkpoint.save_provisional(float("nan"), aside)
    checkpoint.save_provisional(3.0, aside)
    assert (saved_value(path), checkpoint.best, aside.exists()) == (1.0, 3.0, False)
    checkpoint.save_provisional(2.5, aside)
    assert (saved_value(path), checkpoint.best, saved_value(aside)) == (2.0, 2.5, 1.0)
    BestCheckpoint(path).restore_previous(aside)
    assert saved_value(path) == 1.0
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]


def test_parts_that_a_killed_process_left_are_removed(tmp_path):
    (tmp_path / ".model.keras.partial-x").mkdir()
    BestCheckpoint(tmp_path / "model.keras").on_train_begin()
    assert not list(tmp_path.iterdir())
