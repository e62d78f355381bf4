import numpy as np
import pytest

from keras_griffin.layers import MinGRU
from tests.layers.units.definitions import built, check_equations, sigmoid

G = {"linear": lambda x: x, "positive": lambda x: np.where(x >= 0, x + 0.5, sigmoid(x))}


def step(activation):
    def equations(weights, x, state):
        update, candidate = (
            x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"] for name in ("update_gate", "candidate")
        )
        hidden = (1 - sigmoid(update)) * state[0] + sigmoid(update) * G[activation](candidate)
        return hidden, [hidden]

    return equations


@pytest.mark.parametrize("activation", G)
def test_equations(activation):
    check_equations(built(MinGRU(5, activation=activation)), step(activation))
