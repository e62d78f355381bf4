import numpy as np

from keras_griffin.layers import S4
from keras_griffin.layers.initializers.state_space_initializer import hippo_legs, legs_of_pairs
from keras_griffin.layers.units.state_space.s4 import LowRankDynamics
from keras_griffin.testing.arrays import as_array
from tests.layers.units.definitions import built, check_equations, named
from tests.layers.units.state_space.test_s4d import complex_of, legs_of


def system(weights):
    """The samples' A and b on all N complex numbers, [s; s*], by inverses: `(D, N, N)` and `(D, N)`."""
    rate = -np.exp(weights["log_rates"]) + 1j * weights["frequencies"]
    rate, p, b = (
        np.concatenate([x, x.conj()], -1)
        for x in (rate, complex_of(weights["low_rank"]), complex_of(weights["input_weights"]))
    )
    half, one = np.exp(weights["log_steps"])[:, None, None] / 2, np.eye(rate.shape[-1])
    matrix = rate[..., None] * one - p[:, :, None] * p[:, None].conj()
    inverse = np.linalg.inv(one - half * matrix)
    return inverse @ (one + half * matrix), np.squeeze(inverse @ (2 * half * b[..., None]), -1)


def step(weights, x, state):
    a, b = system({path.removeprefix("dynamics/"): weight for path, weight in weights.items()})
    hidden = complex_of(state[0])
    hidden = np.einsum("dmn,bdn->bdm", a, np.concatenate([hidden, hidden.conj()], -1)) + b * x[..., None]
    hidden = hidden[..., : hidden.shape[-1] // 2]
    output = 2 * (complex_of(weights["output_weights"]) * hidden).real.sum(-1) + weights["feedthrough"] * x
    return output, [np.concatenate([hidden.real, hidden.imag], -1)]


def test_equations():
    check_equations(built(S4(state_size=6), 0.3), step)


def test_any_weights_are_stable():
    layer = LowRankDynamics(8, "legs", (0.001, 0.1))
    layer.build((None, 50))
    generator = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(as_array(weight) + 3.0 * generator.normal(size=weight.shape))
    matrices, _ = layer.matrices()
    assert np.linalg.norm(as_array(matrices).astype("float64"), 2, axis=(1, 2)).max() <= 1 + 1e-5


def test_it_starts_as_legs():
    """On the paper's own matrices, N = 64 and the steps of the longest and the shortest memory, in double precision."""
    size, length, steps = 64, 1024, (0.001, 0.03)
    (layer := S4(state_size=size, return_sequences=True)).build((None, None, 2))
    generator = np.random.default_rng(0)
    c, inputs = generator.normal(size=(2, size)), generator.normal(size=(1, length, 2)).astype("float32")
    vectors = hippo_legs(size)[1][:, size // 2 :]
    kept = c @ vectors
    layer.output_weights.assign(np.concatenate([kept.real, kept.imag], -1))
    layer.feedthrough.assign(np.zeros(2))
    layer.dynamics.log_steps.assign(np.log(steps))
    root, one = np.sqrt(np.arange(size) + 0.5), np.eye(size)
    matrix = legs_of(size) - np.outer(root, root)
    outputs = as_array(layer(inputs))
    for channel, d in enumerate(steps):
        a = np.linalg.solve(one - d / 2 * matrix, one + d / 2 * matrix)
        b, state, expected = np.linalg.solve(one - d / 2 * matrix, d * 2**0.5 * root), np.zeros(size), []
        for x in inputs[0, :, channel]:
            state = a @ state + b * x
            expected.append(c[channel] @ state)
        np.testing.assert_allclose(outputs[0, :, channel], expected, atol=5e-5 * np.abs(expected).max())


def test_pairs_of_legs():
    """Both of each pair give the matrix back."""
    rate, p, _ = legs_of_pairs(8)
    vectors = hippo_legs(8)[1][:, 4:]
    whole = vectors @ np.diag(rate) @ vectors.conj().T
    np.testing.assert_allclose(2 * whole.real, legs_of(8), atol=1e-12)
    np.testing.assert_allclose(2 * (vectors @ p).real, np.sqrt(np.arange(8) + 0.5), atol=1e-12)


def test_weights_at_the_start():
    layer = S4(state_size=8)
    layer.build((None, None, 3))
    weights = named(layer)
    np.testing.assert_allclose(np.exp(weights["dynamics/log_rates"]), 0.5)
    assert 0.001 <= np.exp(weights["dynamics/log_steps"]).min() <= np.exp(weights["dynamics/log_steps"]).max() <= 0.1
