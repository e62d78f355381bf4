"""GateLoop against its equations in NumPy, with complex numbers."""

import numpy as np

from keras_griffin.mixers import GateLoop
from tests.layers.units.definitions import built, check_equations, named, sigmoid


def step(weights, x, state):
    query, key, value, gate, size, phase = (
        x @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0.0)
        for name in ("query", "key", "value", "gate", "size", "phase")
    )
    real, imaginary = np.split(state[0], 2, axis=-1)
    hidden = sigmoid(size) * np.exp(1j * phase) * (real + 1j * imaginary) + key * value
    output = (query * hidden * gate * sigmoid(gate)).real @ weights["output_projection/kernel"]
    return output, [np.concatenate([hidden.real, hidden.imag], axis=-1)]


def test_equations():
    check_equations(built(GateLoop()), step)


def test_first_memories():
    layer = GateLoop()
    layer.build((None, None, 9))
    np.testing.assert_allclose(sigmoid(named(layer)["size/bias"])[[0, 4, 8]], [0.731, 0.953, 0.993], atol=1e-3)
