import contextlib
import signal

import keras
import pytest

from keras_griffin.training import RestOfEpoch
from keras_griffin.training.interruption import Interrupted, NotedSignals, Terminated
from keras_griffin.training.resuming.processes import Processes
from keras_griffin.training.resuming.run_course import RunCourse
from tests.training.resuming.cut_off_run import held_out, make_data, make_model

pytestmark = [pytest.mark.trainable, pytest.mark.any_backend]


def saves_of(*callbacks, save_every, processes=None, signals=None, while_saving=lambda step: None, ends_by=None):
    """The step, epoch, first batch and end of each save in two epochs of five batches."""
    saves = []

    def write(step, tensors, facts):
        while_saving(step)
        saves.append((step, facts["epoch"], facts["start"], facts["is_stopped"]))

    rest, model = RestOfEpoch(make_data()), make_model()
    model.optimizer.build(model.trainable_variables)
    course = RunCourse(rest, None, write, save_every, signals or NotedSignals(None), callbacks, 0, processes)
    with pytest.raises(ends_by) if ends_by else contextlib.nullcontext():
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


@pytest.mark.parametrize("number, ends_by", [(signal.SIGTERM, Terminated), (signal.SIGINT, Interrupted)])
@pytest.mark.parametrize("agreement, ended", [(2, (3, 0, 3, False)), (5, (6, 1, 1, False))])
def test_a_signal_after_its_process_was_asked_ends_all_at_the_next_batch(number, ends_by, agreement, ended):
    class Asked(Processes):
        """The signal arrives once the others have the answer of this process."""

        agreements = 0

        def largest(self, *numbers):
            self.agreements += 1
            answer = super().largest(*numbers)
            if self.agreements == agreement:
                signals.note(number, None)
            return answer

    signals = NotedSignals(None)
    saves = saves_of(save_every=100, processes=Asked(), signals=signals, ends_by=ends_by)
    assert saves == [(0, 0, 0, False), *[(5, 1, 0, False)] * (agreement == 5), ended]


def test_a_signal_that_another_process_had_first_is_no_second_one():
    class Told(Processes):
        """Another process has SIGTERM at the second agreement."""

        agreements = 0

        def largest(self, *numbers):
            self.agreements += 1
            return [max(numbers[0], signal.SIGTERM * (self.agreements == 2)), *numbers[1:]]

    def while_saving(step):
        if step == 2:
            signals.note(signal.SIGTERM, None)

    signals = NotedSignals(None)
    told = {"processes": Told(), "signals": signals, "while_saving": while_saving, "ends_by": Terminated}
    assert saves_of(save_every=100, **told) == [(0, 0, 0, False), (2, 0, 2, False)]
