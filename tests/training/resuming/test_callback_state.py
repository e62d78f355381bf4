import json

import keras
import numpy as np
import pytest

from keras_griffin.training import BestCheckpoint
from keras_griffin.training.resuming.run_state import callback_states, restore_callbacks, restore_logs

pytestmark = pytest.mark.any_backend


class Counts(keras.callbacks.Callback):
    saved_attributes = ("count",)

    def __init__(self):
        super().__init__()
        self.count = 0
        self.other = 0


def test_what_callbacks_know_comes_back(tmp_path):
    stopping = keras.callbacks.EarlyStopping(restore_best_weights=True)
    stopping.on_train_begin()
    stopping.best, stopping.wait, stopping.best_weights = 0.5, 3, [np.ones(2), np.arange(12.0)]
    counts, best, history = Counts(), BestCheckpoint(tmp_path / "m.keras"), keras.callbacks.History()
    counts.count = counts.other = best.best = 4
    history.on_train_begin()
    history.epoch, history.history = [0, 1], {"loss": [2.0, 1.0]}
    states, arrays = callback_states([stopping, counts, best, history, Counts()])
    states = json.loads(json.dumps(states))

    other_stopping, more = keras.callbacks.EarlyStopping(restore_best_weights=True), [Counts(), Counts()]
    other_best, other_history = BestCheckpoint(tmp_path / "m.keras"), keras.callbacks.History()
    others = [other_history, more[0], other_best, other_stopping, more[1], keras.callbacks.TerminateOnNaN()]
    other_stopping.on_train_begin()
    restore_callbacks(others, states, arrays)
    assert (other_stopping.best, other_stopping.wait) == (0.5, 3)
    assert [part.tolist() for part in other_stopping.best_weights] == [[1, 1], list(range(12))]
    assert (more[0].count, more[0].other, more[1].count) == (4, 0, 0)
    assert other_best.best == 4
    assert (other_history.epoch, other_history.history) == ([0, 1], {"loss": [2.0, 1.0]})


def test_a_log_gets_back_what_it_was_and_goes_on(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"epoch,loss\r\n0,1.0\r\n")
    states, arrays = callback_states([keras.callbacks.CSVLogger(path)])
    path.write_bytes(b"epoch,loss\r\n0,1.0\r\n1,0.5\r\n2,0.")
    log = keras.callbacks.CSVLogger(path)
    restore_logs([log, Counts()], states)
    log.on_train_begin()
    log.on_epoch_end(1, {"loss": 0.25})
    log.on_train_end()
    assert path.read_text().splitlines()[:3] == ["epoch,loss", "0,1.0", "1,0.25,NA"] or path.read_text().splitlines()[
        :3
    ] == ["epoch,loss", "0,1.0", "1,0.25"]
    assert arrays == {}


def test_a_log_that_is_not_there_is_no_state(tmp_path):
    assert callback_states([keras.callbacks.CSVLogger(tmp_path / "none.csv")]) == ({}, {})
