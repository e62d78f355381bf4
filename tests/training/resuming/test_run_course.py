import keras
import pytest

from keras_griffin.training import RestOfEpoch
from keras_griffin.training.interruption import NotedSignals
from keras_griffin.training.resuming.run_course import RunCourse
from keras_griffin.training.resuming.run_file import RunFile
from tests.training.resuming.cut_off_run import NUM_BATCHES, held_out, make_data, make_model


def course_of(saved=None, callbacks=(), save_every=2, verbose=0):
    moments = []
    course = RunCourse(
        RestOfEpoch(make_data()),
        saved,
        lambda step, tensors, facts: moments.append((step, facts["epoch"], facts["start"], facts["is_stopped"])),
        save_every,
        NotedSignals("Stopping."),
        callbacks,
        verbose,
    )
    return course, moments


def test_the_callbacks_of_the_user_stand_between_its_own_two():
    stopping = keras.callbacks.EarlyStopping("loss")
    course, _ = course_of(callbacks=[stopping], verbose=1)
    before, *others, after = course.callbacks
    assert others[0] is stopping
    assert [type(other) for other in others[:2]] == [keras.callbacks.EarlyStopping, keras.callbacks.History]
    assert isinstance(others[2], keras.callbacks.ProgbarLogger)
    assert type(before).__module__ == type(after).__module__ == RunCourse.__module__


def test_it_goes_on_where_it_was_saved():
    facts = {"step": 8, "epoch": 1, "start": 3, "is_stopped": False, "first_epoch": 0}
    course, _ = course_of(RunFile(facts, {}))
    assert (course.step, course.epoch, course.start, course.is_stopped) == (8, 1, 3, False)


@pytest.mark.trainable
def test_it_saves_at_the_start_when_it_is_time_and_at_the_end_of_an_epoch():
    course, moments = course_of()
    model = make_model()
    model.optimizer.build(model.trainable_variables)
    model.fit(course.rest, epochs=2, shuffle=False, validation_data=held_out(), callbacks=course.callbacks, verbose=0)
    assert NUM_BATCHES == 5
    assert moments == [
        (0, 0, 0, False),
        *[(2, 0, 2, False), (4, 0, 4, False), (5, 1, 0, False)],
        *[(7, 1, 2, False), (9, 1, 4, False), (10, 2, 0, False)],
    ]


@pytest.mark.trainable
def test_what_ends_an_epoch_in_its_middle_is_saved_there():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    course, moments = course_of(callbacks=[Stop()], save_every=100)
    model = make_model()
    model.optimizer.build(model.trainable_variables)
    model.fit(course.rest, epochs=2, shuffle=False, callbacks=course.callbacks, verbose=0)
    assert moments == [(0, 0, 0, False), (3, 0, 3, False)]


def test_logs_are_closed(tmp_path):
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    course, _ = course_of(callbacks=[log])
    log.on_train_begin()
    course.close_logs()
    assert log.csv_file.closed
