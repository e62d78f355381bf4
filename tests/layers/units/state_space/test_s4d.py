import numpy as np
import pytest
from keras import ops

from keras_griffin.layers import S4D
from keras_griffin.testing.arrays import as_array
from tests.layers.units.definitions import WIDTH, built, check_equations, named


def system(weights, discretization):
    """a and b, `(D, N / 2)` complex."""
    rate = -np.exp(weights["dynamics/log_rates"]) + 1j * weights["dynamics/frequencies"]
    d = np.exp(weights["dynamics/log_steps"])[:, None]
    if discretization == "zoh":
        return np.exp(rate * d), (np.exp(rate * d) - 1) / rate
    return (1 + rate * d / 2) / (1 - rate * d / 2), d / (1 - rate * d / 2)


def complex_of(parts):
    real, imaginary = np.split(parts, 2, -1)
    return real + 1j * imaginary


def step(discretization):
    def equations(weights, x, state):
        a, b = system(weights, discretization)
        hidden = a * complex_of(state[0]) + b * x[..., None]
        output = 2 * (complex_of(weights["output_weights"]) * hidden).real.sum(-1) + weights["feedthrough"] * x
        return output, [np.concatenate([hidden.real, hidden.imag], -1)]

    return equations


CASES = [("lin", "zoh", 4), ("inv", "bilinear", 6)]


@pytest.mark.parametrize(("initialization", "discretization", "size"), CASES)
def test_equations(initialization, discretization, size):
    layer = S4D(state_size=size, initialization=initialization, discretization=discretization)
    check_equations(built(layer, 0.2), step(discretization))


def test_initial_values():
    for name, expected in {
        "lin": np.pi * np.arange(3),
        "inv": 6 / np.pi * (6 / np.array([1, 3, 5]) - 1),
        "legs": [0.5, 2.0, 5.0],
    }.items():
        layer = S4D(state_size=6, initialization=name)
        layer.build((None, None, WIDTH))
        weights = named(layer)
        if name == "legs":
            expected = np.sort(np.linalg.eigvals(legs_of(6)).imag)[3:]
        np.testing.assert_allclose(weights["dynamics/frequencies"], np.tile(expected, (WIDTH, 1)), rtol=1e-6)
        np.testing.assert_allclose(np.exp(weights["dynamics/log_rates"]), 0.5, rtol=1e-6)
        steps = np.exp(weights["dynamics/log_steps"])
        assert 0.001 <= steps.min() and steps.max() <= 0.1 + 1e-6
    layer = S4D()
    layer.build((None, None, 50))
    np.testing.assert_allclose(as_array(layer.output_weights).std(), 0.5**0.5, rtol=0.05)


def legs_of(size):
    """HiPPO-LegS and its rank-one correction: normal, with conjugate pairs of eigenvalues."""
    n = np.arange(size)
    root = np.sqrt(2 * n + 1)
    return -np.tril(np.outer(root, root), -1) - np.diag(n + 1.0) + np.outer(root, root) / 2


def test_an_odd_state_is_refused():
    with pytest.raises(ValueError, match=r"^S4D: state_size must be an even integer of at least 2\. Got 5\.$"):
        S4D(state_size=5)
    assert ops.shape(S4D(state_size=2)(np.ones((1, 3, 2), "float32"))) == (1, 2)
