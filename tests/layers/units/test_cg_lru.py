import numpy as np
import pytest

from keras_griffin.layers import CGLRU
from keras_griffin.ops import rg_lru
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.layers.units.definitions import built
from tests.layers.units.test_rg_lru import check_equations


def test_equations():
    check_equations(CGLRU)


def test_without_rotation_it_is_an_rg_lru_on_each_half():
    layer = built(CGLRU(num_gate_blocks=1, return_sequences=True), width=8)
    layer.phase.assign(np.zeros(4))
    inputs = np.random.default_rng(1).normal(size=(2, 9, 8)).astype("float32")
    outputs = as_array(layer(inputs))
    logits = layer.input_gate(inputs), layer.recurrence_gate(inputs)
    for half in (slice(0, 4), slice(4, 8)):
        expected, _ = rg_lru(inputs[..., half], *logits, layer.decay_parameter)
        assert_close(outputs[..., half], as_array(expected))


def test_phases_start_within_the_maximum():
    layer = CGLRU(maximum_phase=0.2)
    layer.build((None, None, 512))
    phase = layer.exponent * np.asarray(as_array(layer.phase))
    assert 0 <= phase.min() < 0.01 and 0.19 < phase.max() <= 0.2


def test_messages():
    with pytest.raises(ValueError, match=r"CGLRU: the inputs' width must be even\. Got 7\."):
        CGLRU().build((None, None, 7))
