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


class Others(Processes):
    """A process beside others, which have a signal from one agreement on; its own arrives right after another."""

    def __init__(self, signals, told_from=None, arrives_after=None, number=signal.SIGTERM):
        super().__init__()
        self.signals, self.told_from, self.arrives_after, self.number = signals, told_from, arrives_after, number
        self.agreements = 0

    def largest(self, *numbers):
        self.agreements += 1
        received, *rest = numbers
        if self.told_from is not None and self.agreements >= self.told_from:
            received = max(received, self.number)
        if self.agreements == self.arrives_after:
            self.signals.note(self.number, None)
        return [received, *rest]


@pytest.mark.parametrize("number, ends_by", [(signal.SIGTERM, Terminated), (signal.SIGINT, Interrupted)])
@pytest.mark.parametrize(
    "agreement, saves",
    [
        (2, [(3, 0, 3, False)]),
        # The fifth is at an epoch's end, before its save, and the sixth after it.
        (5, [(5, 1, 0, False)]),
        (6, [(5, 1, 0, False), (6, 1, 1, False)]),
        (11, [(5, 1, 0, False), (10, 2, 0, False)]),
    ],
)
def test_a_signal_after_its_process_was_asked_ends_all_at_the_next_agreement(number, ends_by, agreement, saves):
    signals = NotedSignals(None)
    others = Others(signals, arrives_after=agreement, number=number)
    ended = saves_of(save_every=100, processes=others, signals=signals, ends_by=ends_by)
    assert ended == [(0, 0, 0, False), *saves]


def test_a_signal_that_another_process_had_first_is_no_second_one():
    signals = NotedSignals(None)

    def while_saving(step):
        if step == 2:
            signals.note(signal.SIGTERM, None)

    others = {"processes": Others(signals, told_from=2), "signals": signals, "ends_by": Terminated}
    assert saves_of(save_every=100, while_saving=while_saving, **others) == [(0, 0, 0, False), (2, 0, 2, False)]


@pytest.mark.parametrize("step", [2, 10])
def test_a_signal_during_a_save_ends_the_run_after_it(step):
    signals = NotedSignals(None)

    def while_saving(at):
        if at == step:
            signals.note(signal.SIGTERM, None)

    saves = saves_of(save_every=2, signals=signals, while_saving=while_saving, ends_by=Terminated)
    assert saves[-1][0] == step
