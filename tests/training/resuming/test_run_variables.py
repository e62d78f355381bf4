import keras
import ml_dtypes
import numpy as np
import pytest

from keras_griffin.training.resuming.run_state import (
    check_variables,
    copy_variables,
    restore_metrics,
    restore_variables,
)


class Odd(keras.layers.Layer):
    """Variables of all kinds."""

    def build(self, shape):
        self.flags = self.add_weight(shape=(3,), dtype="bool", initializer="zeros", trainable=False, name="flags")
        self.count = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="count")
        self.half = self.add_weight(shape=(2, 3), dtype="bfloat16", initializer="ones", name="half")
        self.chance = keras.random.SeedGenerator(5)

    def call(self, x):
        return x


def model(units=2, learning_rate=0.5):
    layers = [keras.layers.Dense(units), keras.layers.Dropout(0.5, seed=1), Odd()]
    net = keras.Sequential([keras.Input((4,)), *layers])
    net.compile(keras.optimizers.Adam(learning_rate, gradient_accumulation_steps=2), "mse")
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
    arrays = copy_variables(changed(), with_metrics=True)
    kinds = {str(array.dtype) for array in arrays.values()}
    assert {"bool", "int32", "float32", "bfloat16"} <= kinds
    assert any("gradient_accumulator" in name for name in arrays) and any("seed" in name for name in arrays)
    arrays = {name: np.array(array) for name, array in arrays.items()}
    other = model()
    check_variables(other, arrays)
    restore_variables(other, arrays)
    assert restore_metrics(other, arrays)
    again = copy_variables(other, with_metrics=True)
    assert len(again) == len(arrays)
    for array, same in zip(arrays.values(), again.values(), strict=True):
        assert array.dtype == same.dtype and array.tobytes() == same.tobytes()


def test_metrics_that_are_not_there_yet_are_told():
    arrays = copy_variables(model(), with_metrics=False)
    assert not restore_metrics(changed(), arrays)


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
    arrays = copy_variables(net, with_metrics=False)
    del arrays[next(name for name in arrays if name.startswith("model/0/"))]
    spoil(arrays)
    with pytest.raises(ValueError, match=f"ResumableRun: the variables must be those of the run. Got .*{named}"):
        check_variables(net, arrays)


def test_variables_in_parts_are_refused():
    class Value:
        is_fully_addressable = False

    class Variable:
        value, path = Value(), "dense/kernel"

    class Model:
        variables = [Variable()]
        optimizer = keras.optimizers.SGD()

    with pytest.raises(ValueError, match="OrbaxCheckpoint saves each part. Got dense/kernel in parts."):
        copy_variables(Model(), with_metrics=False)
