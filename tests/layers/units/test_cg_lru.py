"""The CG-LRU against appendix B, written out in NumPy with complex numbers."""

import numpy as np
import pytest

from keras_griffin.layers import CGLRU, RGLRU
from keras_griffin.ops import rg_lru
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.layers.units.test_rg_lru import block_diagonal, made, sigmoid


def appendix_b(layer, inputs, hidden):
    """Equations 8 to 14, one step at a time."""
    decay_parameter, theta = (
        np.asarray(as_array(weight), "float64") for weight in (layer.decay_parameter, layer.phase)
    )
    complex_decay = sigmoid(decay_parameter) * np.exp(1j * theta)
    half = inputs.shape[-1] // 2
    outputs = []
    for t in range(inputs.shape[1]):
        x = np.asarray(inputs[:, t], "float64")
        complex_x = x[:, :half] + 1j * x[:, half:]
        recurrence_gate = sigmoid(block_diagonal(layer.recurrence_gate, x))
        input_gate = sigmoid(block_diagonal(layer.input_gate, x))
        decay = complex_decay ** (layer.exponent * recurrence_gate)
        hidden = decay * hidden + np.sqrt(1.0 - np.abs(decay) ** 2) * (input_gate * complex_x)
        outputs.append(np.concatenate([hidden.real, hidden.imag], axis=-1))
    return np.stack(outputs, axis=1)


def test_equations():
    layer = made(CGLRU(num_gate_blocks=3, return_sequences=True), 12)
    inputs = np.random.default_rng(1).normal(size=(2, 9, 12)).astype("float32")
    hidden = np.random.default_rng(2).normal(size=(2, 12)).astype("float32")
    assert_close(layer(inputs), appendix_b(layer, inputs, np.zeros((2, 6))))
    expected = appendix_b(layer, inputs, hidden[:, :6] + 1j * hidden[:, 6:])
    assert_close(layer(inputs, initial_state=hidden), expected)


def test_without_rotation_it_is_an_rg_lru_on_each_half():
    layer = made(CGLRU(num_gate_blocks=1, return_sequences=True), 8)
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


def test_it_takes_the_arguments_of_the_rg_lru():
    assert set(RGLRU().get_config()) < set(CGLRU().get_config())


def test_messages():
    with pytest.raises(ValueError, match=r"CGLRU: the inputs' width must be even\. Got 7\."):
        CGLRU().build((None, None, 7))
