"""Mixers whose state is a matrix for each head, against their equations in NumPy."""

import numpy as np
import pytest

from keras_griffin.mixers import GatedLinearAttention, LinearAttention, Retention
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from tests.layers.units.definitions import built, check_equations, named, sigmoid


def projected(weights, x, num_heads, *names):
    """Heads `(..., N, H)` of each projection."""
    return [(x @ weights[f"{name}/kernel"]).reshape(*x.shape[:-1], num_heads, -1) for name in names]


def gated(weights, x, heads, norm="rms", epsilon=1e-6):
    """The norm of each head, the gate and the last projection."""
    heads = heads - heads.mean(-1, keepdims=True) if norm == "layer" else heads
    square = (heads**2).mean(-1, keepdims=True) + epsilon
    heads = heads / np.sqrt(np.where(square > 0, square, 1))
    gate = x @ weights["gate/kernel"]
    return (heads.reshape(gate.shape) * gate * sigmoid(gate)) @ weights["output_projection/kernel"]


def written(past, key, value, query):
    """The state after a step, and what the query reads."""
    state = past + key[..., None] * value[..., None, :]
    return state, np.einsum("bnhp,bnh->bnp", state, query)


def linear_attention(layer):
    def features(x):
        return np.where(x > 0, x + 1, np.exp(x))

    def step(weights, x, state):
        query, key, value = projected(weights, x, layer.num_heads, "query", "key", "value")
        value = np.concatenate([value, np.ones_like(value[..., :1])], -1) if layer.normalize else value
        state, read = written(state[0], features(key), value, features(query))
        if layer.normalize:
            read = read[..., :-1] / (read[..., -1:] + layer.epsilon)
        return read.reshape(x.shape) @ weights["output_projection/kernel"], [state]

    return step


def gammas_and_angles(num_heads, channels):
    return 1 - 0.5 ** (5.0 + np.arange(num_heads)), 10000 ** -np.linspace(0, 1, channels // 2)


def retention(layer):
    def step(weights, x, state):
        query, key, value = projected(weights, x, layer.num_heads, "query", "key", "value")
        gamma, theta = gammas_and_angles(*query.shape[1:])
        real, imaginary = np.split(state[0], 2, axis=2)
        turned = gamma[:, None, None] * (real + 1j * imaginary) * np.exp(-1j * theta)[:, None]
        past = np.concatenate([turned.real, turned.imag], axis=2)
        state, read = written(past, key / np.sqrt(key.shape[-1]), value, query)
        return gated(weights, x, read, layer.head_norm, layer.epsilon), [state]

    return step


def gated_linear_attention(layer):
    def step(weights, x, state):
        query, key, value = projected(weights, x, layer.num_heads, "query", "key", "value")
        decay = x @ weights["to_rank/kernel"] @ weights["decay/kernel"] + weights["decay/bias"]
        past = sigmoid(decay).reshape(key.shape)[..., None] ** (1 / 16) * state[0]
        state, read = written(past, key / np.sqrt(key.shape[-1]), value, query)
        return gated(weights, x, read), [state]

    return step


@pytest.mark.parametrize(
    ("layer", "step"),
    [
        # A divisor that a sum of keys, here of either sign, can't make small.
        (LinearAttention(num_heads=2, epsilon=30.0), linear_attention),
        (LinearAttention(num_heads=3, normalize=False), linear_attention),
        (Retention(num_heads=3), retention),
        (Retention(num_heads=1, head_norm="layer", epsilon=0.0), retention),
        (GatedLinearAttention(num_heads=3, rank=2), gated_linear_attention),
    ],
    ids=["linear_attention", "without divisor", "retention", "retention with LayerNorm", "gated_linear_attention"],
)
def test_equations(layer, step):
    check_equations(built(layer), step(layer))


def test_the_parallel_the_chunked_and_the_recurrent_form_of_retention_are_one():
    """The paper's parallel form, in which queries and keys have positions, over several times the longest memory."""
    length, layer = 400, built(Retention(num_heads=3), width=12)
    inputs = np.random.default_rng(1).normal(size=(1, length, 12)).astype("float32")
    weights, x, steps = named(layer), inputs.astype("float64"), np.arange(length)
    query, key, value = projected(weights, x, 3, "query", "key", "value")
    gamma, theta = gammas_and_angles(3, 4)
    positions = np.exp(1j * steps[:, None, None] * theta)
    query, key = ((heads[..., :2] + 1j * heads[..., 2:]) * positions for heads in (query, key / 2))
    distance = steps[:, None] - steps
    decays = np.where(distance >= 0, gamma[:, None, None] ** np.maximum(distance, 0), 0)
    scores = np.einsum("bnkp,bmkp->bknm", query, key.conj()).real * decays
    parallel = gated(weights, x, np.einsum("bknm,bmkp->bnkp", scores, value))
    advance = compiled(layer.advance)
    for piece in (length, 100, 1):
        outputs, state = [], layer.initial_state(1)
        for start in range(0, length, piece):
            output, state = advance(inputs[:, start : start + piece], state)
            outputs.append(as_array(output))
        assert_close(np.concatenate(outputs, axis=1), parallel)


def test_linear_attention_averages_values():
    """With the epsilon of the paper's authors: equal values stay as they are, from the first step on."""
    layer = built(LinearAttention())
    layer.value.set_weights([np.eye(6) * (np.arange(6) < 2)])
    inputs = np.random.default_rng(1).normal(size=(1, 100, 6)).astype("float32")
    inputs[..., :2] = 2.0
    expected = named(layer)["output_projection/kernel"][:2].sum(0) * 2
    assert_close(layer(inputs), np.broadcast_to(expected, (1, 100, 6)))


def test_retention_starts_as_xavier_with_small_gains():
    layer = Retention()
    layer.build((None, None, 96))
    weights = named(layer)
    for name, outputs, gain in (("query", 96, 2**-2.5), ("gate", 192, 2**-2.5), ("output_projection", 192, 0.5)):
        limit, kernel = gain * np.sqrt(6 / (96 + outputs)), np.abs(weights[f"{name}/kernel"])
        assert 0.99 * limit < kernel.max() <= limit
        np.testing.assert_allclose(kernel.mean(), limit / 2, rtol=0.03)
