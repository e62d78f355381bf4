import numpy as np
import pytest

from keras_griffin.layers import SelectiveSSM
from tests.layers.units.definitions import built, check_equations, named


def step(weights, x, state):
    size = weights["dynamics/log_rates"].shape[1]
    selected = x @ weights["selection/kernel"]
    low_rank, b, c = np.split(selected, [-2 * size, -size], axis=-1)
    steps = np.logaddexp(0, low_rank @ weights["step/kernel"] + weights["step/bias"])
    decay = np.exp(steps[..., None] * -np.exp(weights["dynamics/log_rates"]))
    hidden = decay * state[0] + (steps * x)[..., None] * b[:, None]
    return (hidden * c[:, None]).sum(-1) + weights["feedthrough"] * x, [hidden]


@pytest.mark.parametrize("options", [{}, {"state_size": 3, "rank": 2}])
def test_equations(options):
    check_equations(built(SelectiveSSM(**options)), step)


def test_initial_values_are_the_authors():
    layer = SelectiveSSM()
    layer.build((None, None, 800))
    weights = named(layer)
    np.testing.assert_allclose(np.exp(weights["dynamics/log_rates"]), np.tile(np.arange(1, 17), (800, 1)), rtol=1e-6)
    steps = np.log(np.logaddexp(0, weights["step/bias"]))
    assert np.log(0.001) - 1e-3 <= steps.min() and steps.max() <= np.log(0.1) + 1e-3
    np.testing.assert_allclose(np.median(steps), np.log(0.01), atol=0.2)
    kernel = weights["step/kernel"]
    assert kernel.shape == (50, 800) and np.abs(kernel).max() <= 50**-0.5 and np.abs(kernel).max() > 0.95 * 50**-0.5
    np.testing.assert_array_equal(weights["feedthrough"], 1)
