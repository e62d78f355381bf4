import json

import keras
import ml_dtypes
import numpy as np
import pytest

from keras_griffin.training import BestCheckpoint
from keras_griffin.training.resuming.processes import Processes
from keras_griffin.training.resuming.run_state import (
    callback_states,
    check_variables,
    copy_variables,
    restore_callbacks,
    restore_logs,
    restore_metrics,
    restore_variables,
)

ALONE = Processes()


class Odd(keras.layers.Layer):
    """Variables of all kinds."""

    def build(self, shape):
        self.flags = self.add_weight(shape=(3,), dtype="bool", initializer="zeros", trainable=False, name="flags")
        self.count = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="count")
        self.half = self.add_weight(shape=(2, 3), dtype="bfloat16", initializer="ones", name="half")
        self.chance = keras.random.SeedGenerator(5)

    def call(self, x):
        return x


def model():
    layers = [keras.layers.Dense(2), keras.layers.Dropout(0.5, seed=1), Odd()]
    net = keras.Sequential([keras.Input((4,)), *layers])
    net.compile(keras.optimizers.Adam(0.5, gradient_accumulation_steps=2), "mse")
    net.optimizer.build(net.trainable_variables)
    return net


def changed():
    net, chance = model(), np.random.default_rng(0)
    for variable in [*net.variables, *net.optimizer.variables, *net.metrics_variables]:
        value = chance.integers(0, 2, size=tuple(variable.shape))
        dtype = np.dtype(variable.dtype)
        value = value + chance.random(tuple(variable.shape)) if dtype.kind in "fV" else value
        variable.assign(np.asarray(value, "float32" if dtype.kind in "fV" else dtype))
    return net


def test_every_variable_comes_back_bit_by_bit():
    arrays = copy_variables(changed(), True, ALONE)
    assert {"bool", "int32", "float32", "bfloat16"} <= {str(array.dtype) for array in arrays.values()}
    assert any("gradient_accumulator" in name for name in arrays) and any("seed" in name for name in arrays)
    arrays = {name: np.array(array) for name, array in arrays.items()}
    other = model()
    check_variables(other, arrays, ALONE)
    restore_variables(other, arrays, ALONE)
    assert restore_metrics(other, arrays, 1.0)
    again = copy_variables(other, True, ALONE)
    assert len(again) == len(arrays)
    for array, same in zip(arrays.values(), again.values(), strict=True):
        assert array.dtype == same.dtype and array.tobytes() == same.tobytes()
    assert not restore_metrics(other, copy_variables(model(), False, ALONE), 1.0)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (
            lambda arrays: arrays.update({"model/0/kernel": np.zeros((4, 9), "float32")}),
            r"of float32 instead of \(4, 9\)",
        ),
        (lambda arrays: arrays.update({"model/0/kernel": np.zeros((4, 2), ml_dtypes.bfloat16)}), "of bfloat16"),
        (lambda arrays: arrays.update({"model/99/more": np.zeros(3)}), r"nothing instead of \(3,\) of float64"),
        (dict.clear, "instead of nothing, .* more"),
    ],
)
def test_other_variables_are_refused(spoil, named):
    net = model()
    arrays = copy_variables(net, False, ALONE)
    del arrays[next(name for name in arrays if name.startswith("model/0/"))]
    spoil(arrays)
    with pytest.raises(ValueError, match=f"ResumableRun: the variables must be those of the run. Got .*{named}"):
        check_variables(net, arrays, ALONE)


class Counts(keras.callbacks.Callback):
    saved_attributes = ("count",)

    def __init__(self):
        super().__init__()
        self.count = self.other = 0


@pytest.mark.any_backend
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


@pytest.mark.any_backend
def test_a_log_gets_back_what_it_was_and_goes_on(tmp_path):
    path = tmp_path / "log.csv"
    assert callback_states([keras.callbacks.CSVLogger(path)]) == ({}, {})
    path.write_bytes(b"epoch,loss\r\n0,1.0\r\n")
    states, arrays = callback_states([keras.callbacks.CSVLogger(path)])
    path.write_bytes(b"epoch,loss\r\n0,1.0\r\n1,0.5\r\n2,0.")
    log = keras.callbacks.CSVLogger(path)
    restore_logs([log, Counts()], states)
    log.on_train_begin()
    log.on_epoch_end(1, {"loss": 0.25})
    log.on_train_end()
    first, second, third, *rest = path.read_text().splitlines()
    assert [first, second, third.removesuffix(",NA"), *rest] == ["epoch,loss", "0,1.0", "1,0.25"] and arrays == {}
