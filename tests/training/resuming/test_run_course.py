import keras
import pytest

from keras_griffin.training import RestOfEpoch
from keras_griffin.training.interruption import NotedSignals
from keras_griffin.training.resuming.run_course import RunCourse
from tests.training.resuming.cut_off_run import held_out, make_data, make_model

pytestmark = [pytest.mark.trainable, pytest.mark.any_backend]


def saves_of(*callbacks, save_every):
    """The step, epoch, first batch and end of each save in two epochs of five batches."""
    saves = []

    def write(step, tensors, facts):
        saves.append((step, facts["epoch"], facts["start"], facts["is_stopped"]))

    rest, model = RestOfEpoch(make_data()), make_model()
    model.optimizer.build(model.trainable_variables)
    course = RunCourse(rest, None, write, save_every, NotedSignals(None), callbacks, verbose=0)
    model.fit(rest, epochs=2, shuffle=False, validation_data=held_out(), callbacks=course.callbacks, verbose=0)
    course.close_logs()
    return saves


def test_it_saves_at_the_start_when_it_is_due_and_at_the_end_of_an_epoch():
    assert saves_of(save_every=2) == [
        (0, 0, 0, False),
        *[(2, 0, 2, False), (4, 0, 4, False), (5, 1, 0, False)],
        *[(7, 1, 2, False), (9, 1, 4, False), (10, 2, 0, False)],
    ]


def test_what_ends_an_epoch_in_its_middle_is_saved_there(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    assert saves_of(Stop(), log, save_every=100) == [(0, 0, 0, False), (3, 0, 3, False)]
    assert log.csv_file.closed
