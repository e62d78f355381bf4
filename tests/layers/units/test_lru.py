import numpy as np
import pytest

from keras_griffin.layers import LRU
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.layers.units.definitions import WIDTH, built, check_equations, named


def step(weights, x, state):
    size = len(weights["nu"])
    decay = np.exp(-np.exp(weights["nu"]) + 1j * np.exp(weights["theta"]))
    gamma = np.exp(weights["gamma"]) if "gamma" in weights else np.sqrt(1 - np.abs(decay) ** 2)
    real, imaginary = np.split(x @ weights["input_projection/kernel"], 2, -1)
    hidden = decay * (state[0][:, :size] + 1j * state[0][:, size:]) + gamma * (real + 1j * imaginary)
    parts = np.concatenate([hidden.real, hidden.imag], -1)
    return parts @ weights["output_projection/kernel"] + weights["feedthrough"] * x, [parts]


@pytest.mark.parametrize("trained_gamma", [True, False])
def test_equations(trained_gamma):
    check_equations(built(LRU(state_size=5, trained_gamma=trained_gamma), 0.1), step)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.9, 0.999)])
def test_the_ring_is_uniform_by_area_and_gamma_normalises(low, high):
    layer = LRU(state_size=4096, ring=(low, high), maximum_phase=0.5)
    layer.build((None, None, 2))
    weights = named(layer)
    size, phase = np.exp(-np.exp(weights["nu"])), np.exp(weights["theta"])
    assert low - 1e-4 <= size.min() and size.max() <= high + 1e-6 and phase.max() <= 0.5 + 1e-6
    area = (size**2 - low**2) / (high**2 - low**2)
    np.testing.assert_allclose(np.quantile(area, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.03)
    np.testing.assert_allclose(np.quantile(phase, [0.25, 0.5, 0.75]), [0.125, 0.25, 0.375], atol=0.015)
    assert_close(np.exp(weights["gamma"]).astype("float32"), np.sqrt(1 - size**2), factor=10)  # the root of a rest


@pytest.mark.parametrize("ring", [(0.0, 1e-3), (0.999999, 1.0)])
def test_at_the_edges_of_the_ring_it_stays_finite(ring):
    """There decays are almost zero, or almost one over 400 steps."""
    layer = LRU(state_size=5, ring=ring, return_sequences=True)
    layer.build((None, None, WIDTH))
    inputs = np.random.default_rng(0).normal(size=(1, 400, WIDTH)).astype("float32")
    expected, state = [], [np.zeros((1, 10))]
    for t in range(400):
        output, state = step(named(layer), inputs[:, t].astype("float64"), state)
        expected.append(output)
    assert_close(as_array(layer(inputs)), np.stack(expected, 1), factor=2)  # a phase of 400 turns


def test_the_first_variances_are_the_papers():
    layer = LRU(state_size=512)
    layer.build((None, None, 256))
    weights = named(layer)
    np.testing.assert_allclose(weights["input_projection/kernel"].std(), (2 * 256) ** -0.5, rtol=0.02)
    np.testing.assert_allclose(weights["output_projection/kernel"].std(), 512**-0.5, rtol=0.02)
