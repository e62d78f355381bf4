import numpy as np
import pytest
from keras import ops

from keras_griffin.layers import MinLSTM
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient
from tests.layers.units.definitions import WIDTH, built, check_equations, sigmoid


def step(weights, x, state):
    f, i, h = (
        x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"] for name in ("forget_gate", "input_gate", "candidate")
    )
    f, i = sigmoid(f), sigmoid(i)
    hidden = f / (f + i) * state[0] + i / (f + i) * h
    return hidden, [hidden]


def test_equations():
    check_equations(built(MinLSTM(5)), step)


@pytest.mark.trainable
def test_two_closed_gates_share_what_there_is():
    """Both sigmoids are zero in float32; their ratio is not."""
    layer = built(MinLSTM(return_sequences=True))
    for gate in layer.projections[:2]:
        gate.set_weights([np.zeros((WIDTH, WIDTH)), np.full(WIDTH, -150.0)])
    hidden = np.ones((1, WIDTH), "float32")
    layer.projections[2].set_weights([np.zeros((WIDTH, WIDTH)), np.zeros(WIDTH)])
    inputs = np.ones((1, 3, WIDTH), "float32")
    assert_close(layer(inputs, initial_state=hidden), np.full((1, 3, WIDTH), 0.5 ** np.arange(1, 4)[:, None]))
    _, (gradient,) = value_and_gradient(lambda x: ops.sum(layer(x)), inputs)
    assert np.isfinite(gradient).all()
