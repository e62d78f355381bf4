import numpy as np
import pytest

from keras_griffin.layers import GILR
from tests.layers.units.definitions import built, check_equations, sigmoid

TAU = {"tanh": np.tanh, "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), "linear": lambda x: x}


def step(activation):
    def equations(weights, x, state):
        gate = sigmoid(x @ weights["forget_gate/kernel"] + weights["forget_gate/bias"])
        impulse = TAU[activation](x @ weights["impulse/kernel"] + weights["impulse/bias"])
        hidden = gate * state[0] + (1 - gate) * impulse
        return hidden, [hidden]

    return equations


@pytest.mark.parametrize("activation", TAU)
def test_equations(activation):
    check_equations(built(GILR(5, activation=activation)), step(activation))
