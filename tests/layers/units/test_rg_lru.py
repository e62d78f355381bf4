"""The RG-LRU and the CG-LRU against the paper's equations, written out in NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.layers import RGLRU
from keras_griffin.layers.units.rg_lru import default_num_gate_blocks
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient
from tests.layers.units.definitions import built, sigmoid


def block_diagonal(layer, inputs):
    kernel, bias = (np.asarray(w, "float64") for w in layer.get_weights())
    blocks = inputs.reshape(*inputs.shape[:-1], *kernel.shape[:2])
    return np.concatenate([blocks[..., g, :] @ kernel[g] + bias[g] for g in range(kernel.shape[0])], axis=-1)


def as_complex(x):
    return x[..., : x.shape[-1] // 2] + 1j * x[..., x.shape[-1] // 2 :]


def paper(layer, inputs, hidden, reset):
    """Equations 1 to 4, or 8 to 14 of a layer with a phase, one step at a time."""
    number = as_complex if hasattr(layer, "phase") else np.asarray
    decay = sigmoid(np.asarray(as_array(layer.decay_parameter), "float64"))
    if number is as_complex:
        decay = decay * np.exp(1j * np.asarray(as_array(layer.phase), "float64"))
    hidden, outputs = number(hidden), []
    for x, is_reset in zip(np.moveaxis(inputs.astype("float64"), 1, 0), reset.T, strict=True):
        recurrence_gate = sigmoid(block_diagonal(layer.recurrence_gate, x))
        input_gate = sigmoid(block_diagonal(layer.input_gate, x))
        power = np.where(is_reset[:, None], 0.0, decay ** (layer.exponent * recurrence_gate))
        hidden = power * hidden + np.sqrt(1.0 - np.abs(power) ** 2) * (input_gate * number(x))
        outputs.append(hidden if number is np.asarray else np.concatenate([hidden.real, hidden.imag], axis=-1))
    return np.stack(outputs, axis=1)


def check_equations(unit):
    layer = built(unit(num_gate_blocks=3, return_sequences=True), width=12)
    inputs = np.random.default_rng(1).normal(size=(2, 9, 12)).astype("float32")
    hidden = np.random.default_rng(2).normal(size=(2, 12)).astype("float32")
    reset = np.random.default_rng(3).random((2, 9)) < 0.3
    never = np.zeros((2, 9), bool)
    assert_close(layer(inputs), paper(layer, inputs, np.zeros((2, 12)), never))
    assert_close(layer(inputs, initial_state=hidden), paper(layer, inputs, hidden, never))
    assert_close(layer(inputs, initial_state=[hidden], reset=reset), paper(layer, inputs, hidden, reset))


def test_equations():
    check_equations(RGLRU)


@pytest.mark.parametrize(("rule", "power", "spread"), [("paper", 8, 1), ("ring", 1, 2)])
def test_initial_decays_cover_their_range_uniformly(rule, power, spread):
    layer = RGLRU(decay_initializer=rule)
    layer.build((None, None, 4096))
    decay = sigmoid(np.asarray(as_array(layer.decay_parameter), "float64")) ** power
    assert 0.9 - 1e-4 <= decay.min() < 0.901 and 0.998 < decay.max() <= 0.999 + 1e-4
    low, high = 0.9**spread, 0.999**spread
    quantiles = np.quantile((decay**spread - low) / (high - low), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quantiles, [0.25, 0.5, 0.75], atol=0.03)


def test_gates_start_with_the_fan_in_of_a_block():
    layer = RGLRU(num_gate_blocks=16)
    layer.build((None, None, 1024))
    for gate in (layer.recurrence_gate, layer.input_gate):
        kernel, bias = gate.get_weights()
        assert kernel.shape == (16, 64, 64) and bias.shape == (16, 1, 64)
        np.testing.assert_allclose(kernel.std(), 64**-0.5, rtol=0.02)
        np.testing.assert_array_equal(bias, 0)


def test_a_closed_recurrence_gate_keeps_the_state_and_ignores_the_input():
    layer = built(RGLRU(return_sequences=True), width=8)
    kernel, bias = layer.recurrence_gate.get_weights()
    layer.recurrence_gate.set_weights([0 * kernel, 0 * bias - 80.0])
    hidden = np.random.default_rng(2).normal(size=(2, 8)).astype("float32")
    inputs = np.random.default_rng(1).normal(size=(2, 50, 8)).astype("float32")
    assert_close(layer(inputs, initial_state=hidden)[:, -1], hidden)


@pytest.mark.trainable
def test_gradients_are_finite_where_the_decay_is_one():
    layer = built(RGLRU(return_sequences=True), width=8)
    layer.decay_parameter.assign(np.full(8, 200.0))  # sigmoid(200) is 1 in float32
    inputs = np.random.default_rng(1).normal(size=(2, 7, 8)).astype("float32")
    _, (gradient,) = value_and_gradient(lambda x: ops.sum(layer(x) ** 2), inputs)
    assert np.isfinite(gradient).all()


@pytest.mark.any_backend
def test_at_most_sixteen_blocks_divide_the_width_and_have_at_least_sixteen_channels():
    for width, blocks in ((7, 1), (20, 1), (32, 2), (80, 5), (90, 5), (240, 15), (256, 16), (1000, 10), (4096, 16)):
        assert default_num_gate_blocks(width) == blocks
    layer = RGLRU()
    layer.build((None, None, 32))
    assert layer.recurrence_gate.num_blocks == layer.input_gate.num_blocks == 2
