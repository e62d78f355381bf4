import numpy as np
import pytest

from keras_griffin.layers import LSLSTM
from tests.layers.units.definitions import built, check_equations, sigmoid


def step(shift):
    def equations(weights, x, state):
        surrogate, cell = state
        gate = sigmoid(x @ weights["surrogate/forget_gate/kernel"] + weights["surrogate/forget_gate/bias"])
        impulse = np.tanh(x @ weights["surrogate/impulse/kernel"] + weights["surrogate/impulse/bias"])
        after = gate * surrogate + (1 - gate) * impulse
        seen = surrogate if shift else after
        f, i, o, z = (
            seen @ weights[f"{name}_of_surrogate/kernel"]
            + x @ weights[f"{name}_of_input/kernel"]
            + weights[f"{name}_of_input/bias"]
            for name in ("forget_gate", "input_gate", "output_gate", "candidate")
        )
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(z)
        return sigmoid(o) * cell, [after, cell]

    return equations


@pytest.mark.parametrize("shift", [True, False])
def test_equations(shift):
    check_equations(built(LSLSTM(5, shift=shift)), step(shift))
