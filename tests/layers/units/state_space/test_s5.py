import numpy as np
import pytest
from keras import ops

from keras_griffin.layers import S5
from keras_griffin.layers.units.state_space.s5 import DISCRETIZATIONS
from keras_griffin.testing.arrays import as_array
from tests.layers.units.definitions import WIDTH, built, check_equations, named


def step(discretization, conjugate_pairs):
    def equations(weights, x, state):
        size = len(weights["log_step"])
        rate, d = -np.exp(weights["log_rate"]) + 1j * weights["frequency"], np.exp(weights["log_step"])
        decay, factor = {
            "zoh": lambda: (np.exp(rate * d), (np.exp(rate * d) - 1) / rate),
            "bilinear": lambda: ((1 + rate * d / 2) / (1 - rate * d / 2), d / (1 - rate * d / 2)),
            "dirac": lambda: (np.exp(rate * d), 1.0),
        }[discretization]()
        real, imaginary = np.split(x @ weights["input_projection/kernel"], 2, -1)
        hidden = decay * (state[0][:, :size] + 1j * state[0][:, size:]) + factor * (real + 1j * imaginary)
        parts = np.concatenate([hidden.real, hidden.imag], -1)
        output = (2 if conjugate_pairs else 1) * parts @ weights["output_projection/kernel"]
        return output + weights["feedthrough"] * x, [parts]

    return equations


CASES = [("zoh", True, 1), ("zoh", True, 2), ("zoh", False, 3), ("bilinear", True, 1), ("dirac", False, 1)]


@pytest.mark.parametrize(("discretization", "conjugate_pairs", "blocks"), CASES)
def test_equations(discretization, conjugate_pairs, blocks):
    options = {"discretization": discretization, "conjugate_pairs": conjugate_pairs, "blocks": blocks}
    check_equations(built(S5(state_size=12, **options), 0.2), step(discretization, conjugate_pairs))


@pytest.mark.parametrize("name", DISCRETIZATIONS)
def test_small_steps_follow_the_continuous_system(name):
    """a is 1 + lambda d, and b is d (but for impulses, which are not scaled), to the next order."""
    rate = np.array([-0.5 + 3.0j, -2.0])
    real, imaginary, step = (ops.convert_to_tensor(x, "float32") for x in (rate.real, rate.imag, [1e-4, 1e-4]))
    decay, factor = DISCRETIZATIONS[name]((real, imaginary), step)
    decay, factor = (as_array(pair[0]) + 1j * as_array(pair[1]) for pair in (decay, factor))
    np.testing.assert_allclose(decay, 1 + rate * 1e-4, atol=1e-6)
    np.testing.assert_allclose(factor, 1.0 if name == "dirac" else 1e-4, rtol=1e-3)


def test_blocks_that_do_not_fit():
    for options, got in (({"blocks": 4}, "4 and 6"), ({"blocks": 2}, "2 and 6")):
        with pytest.raises(ValueError, match=rf"^S5: blocks must divide .* of an even size\. Got {got}\.$"):
            S5(**options).build((None, None, WIDTH))
    S5(blocks=2, conjugate_pairs=False).build((None, None, WIDTH))


def test_an_odd_width_has_one_state_more_for_the_pairs():
    for pairs, expected in ((True, 2 * 4), (False, 2 * 7)):
        layer = S5(conjugate_pairs=pairs)
        layer.build((None, None, 7))
        assert layer.initial_state(2).hidden.shape == (2, expected)


def test_the_continuous_system_is_that_of_legs():
    """From eigenvalues and C V* the response of the original system, dense and of size N, comes back."""
    layer = S5(state_size=8)
    layer.build((None, None, WIDTH))
    weights = named(layer)
    assert weights["frequency"].max() < 0 and np.allclose(np.exp(weights["log_rate"]), 0.5)
    low, high = np.exp(weights["log_step"]).min(), np.exp(weights["log_step"]).max()
    assert 0.001 <= low and high <= 0.1
