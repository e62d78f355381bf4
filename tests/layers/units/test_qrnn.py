import numpy as np
import pytest

from keras_griffin.layers import QRNN
from tests.layers.units.definitions import built, check_equations, sigmoid


def step(pooling):
    def equations(weights, x, state):
        cell, earlier = state
        seen = np.concatenate([*np.moveaxis(earlier, 1, 0), x], axis=-1)

        def of(name):
            return seen @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

        forget = sigmoid(of("forget_gate"))
        enter = sigmoid(of("input_gate")) if pooling == "ifo" else 1 - forget
        cell = forget * cell + enter * np.tanh(of("candidate"))
        output = cell if pooling == "f" else sigmoid(of("output_gate")) * cell
        return output, [cell, np.concatenate([earlier, x[:, None]], axis=1)[:, 1:]]

    return equations


@pytest.mark.parametrize(("pooling", "taps"), [("f", 1), ("fo", 2), ("ifo", 3)])
def test_equations(pooling, taps):
    check_equations(built(QRNN(5, taps=taps, pooling=pooling)), step(pooling))
