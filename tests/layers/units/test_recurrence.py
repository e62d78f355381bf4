import keras
import numpy as np
import pytest

from keras_griffin.layers import QRNN, MinLSTM
from keras_griffin.layers.units.recurrence import UNIT_OPTIONS, plain_options, recurrence

FLOAT32 = keras.dtype_policies.get("float32")


def test_it_keeps_the_width_and_returns_every_step():
    layer = recurrence("Block", "qrnn", QRNN, {"taps": np.int64(3)}, FLOAT32)
    assert layer.name == "qrnn" and layer.get_config()["taps"] == 3
    assert layer.compute_output_shape((2, 5, 8)) == (2, 5, 8)


def test_options_that_a_unit_has_not():
    with pytest.raises(ValueError, match=r"^Block: unit_options of qrnn must be among taps, pooling\. Got units, x\.$"):
        recurrence("Block", "qrnn", QRNN, {"units": 5, "x": 1}, FLOAT32)
    with pytest.raises(ValueError, match=r"^Block: unit_options of min_lstm must be empty\. Got stateful\.$"):
        recurrence("Block", "min_lstm", MinLSTM, {"stateful": True}, FLOAT32)


def test_options_are_plain():
    assert plain_options(None) == {} and repr(plain_options({"a": np.float64(0.5)})) == "{'a': 0.5}"
    assert UNIT_OPTIONS.holds({"a": 1}) and not UNIT_OPTIONS.holds({1: 1}) and not UNIT_OPTIONS.holds("a")
