"""RWKV-4 and AFT against their equations in NumPy: sums of weighted values, divided."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.mixers import AFT, RWKV4, RWKV4Channel
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.gradients import value_and_gradient
from tests.layers.units.definitions import BATCH, WIDTH, built, check_equations, named, sigmoid


def mixed(weights, name, x, before):
    mix = weights[f"mix_{name}"]
    return (mix * x + (1 - mix) * before) @ weights[f"{name}/kernel"]


def time_mix(weights, x, state):
    """The published step: numerator and denominator, here recovered from the average and its weight."""
    before, average, log_weight = state
    key, value, receptance = (mixed(weights, name, x, before[:, 0]) for name in ("key", "value", "receptance"))
    weight = np.exp(log_weight)
    present, bonus = np.exp(key), np.exp(weights["first"] + key)
    wkv = (weight * average + bonus * value) / (weight + bonus)
    decayed = np.exp(-np.exp(weights["log_rate"])) * weight
    average = (decayed * average + present * value) / (decayed + present)
    output = (sigmoid(receptance) * wkv) @ weights["output_projection/kernel"]
    return output, [x[:, None], average, np.log(decayed + present)]


def channel_mix(weights, x, state):
    key, receptance = (mixed(weights, name, x, state[0][:, 0]) for name in ("key", "receptance"))
    return sigmoid(receptance) * (np.maximum(key, 0) ** 2 @ weights["value/kernel"]), [x[:, None]]


def attention_free(weights, x, state):
    average, log_weight = state
    query, key, value = (x @ weights[f"{name}/kernel"] for name in ("query", "key", "value"))
    weight = np.exp(log_weight)
    average = (weight * average + np.exp(key) * value) / (weight + np.exp(key))
    output = (sigmoid(query) * average) @ weights["output_projection/kernel"]
    return output, [average, np.log(weight + np.exp(key))]


STEPS = {"rwkv4": (RWKV4, time_mix), "rwkv4_channel": (RWKV4Channel, channel_mix), "aft": (AFT, attention_free)}


@pytest.mark.parametrize("name", STEPS)
def test_equations(name):
    kind, step = STEPS[name]
    check_equations(built(kind()), with_resets(step))


def with_resets(step):
    """A reset makes the state zeros in the definition; here the logarithm of no weight is -1e30."""

    def equations(weights, x, state):
        if len(state) > 1:
            nothing = (state[-1] == 0) & (state[-2] == 0)
            state = [*state[:-1], np.where(nothing, -1e30, state[-1])]
        return step(weights, x, state)

    return equations


@pytest.mark.trainable
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_keys_of_any_size(scale):
    """The average is of values, so it stays between the smallest and the largest of them."""
    layer = built(RWKV4(), 0.5)
    layer.key.set_weights([scale * weight for weight in layer.key.get_weights()])
    inputs = np.random.default_rng(1).normal(size=(BATCH, 40, WIDTH)).astype("float32")
    value, gradients = value_and_gradient(lambda x: ops.sum(layer(x) ** 2), inputs)
    assert np.isfinite(value) and np.isfinite(gradients[0]).all()
    state = [np.zeros((BATCH, 1, WIDTH)), np.zeros((BATCH, WIDTH)), np.full((BATCH, WIDTH), -1e30)]
    weights, outputs = named(layer), []
    for t in range(40):
        x, before = inputs[:, t].astype("float64"), state[0]
        key, values, receptance = (mixed(weights, name, x, before[:, 0]) for name in ("key", "value", "receptance"))
        share = sigmoid(np.clip(weights["first"] + key - state[2], -700, 700))
        wkv = (1 - share) * state[1] + share * values
        outputs.append((sigmoid(receptance) * wkv) @ weights["output_projection/kernel"])
        decayed = state[2] - np.exp(weights["log_rate"])
        log_weight = np.logaddexp(decayed, key)
        average = np.exp(decayed - log_weight) * state[1] + np.exp(key - log_weight) * values
        state = [x[:, None], average, log_weight]
    # Float32 holds a key of 1e4 to 1e-3.
    np.testing.assert_allclose(as_array(layer(inputs)), np.stack(outputs, 1), atol=5e-3)


def test_initial_values_depend_on_the_layer():
    config = GriffinConfig(11, 6, 6, 1, block_pattern=("rwkv4", "rwkv4_channel"), mlp_width=0)
    model = LanguageModel(config)
    for layer in range(3):
        time, channel = (
            {path.split("/mixer/")[1]: weight for path, weight in named(model.blocks[2 * layer + half].mixer).items()}
            for half in (0, 1)
        )
        ratio, share = layer / 2, np.arange(6) / 6
        np.testing.assert_allclose(time["mix_key"], share ** (1 - layer / 3), rtol=1e-6)
        np.testing.assert_allclose(time["mix_value"], share ** (1 - layer / 3) + 0.3 * ratio, rtol=1e-6)
        np.testing.assert_allclose(time["mix_receptance"], share ** (0.5 - layer / 6), rtol=1e-6)
        np.testing.assert_allclose(channel["mix_receptance"], share ** (1 - layer / 3), rtol=1e-6)
        np.testing.assert_allclose(time["log_rate"], -5 + 8 * (np.arange(6) / 5) ** (0.7 + 1.3 * ratio), rtol=1e-6)
        np.testing.assert_allclose(time["first"], np.log(0.3) + 0.5 * np.array([0, 1, -1, 0, 1, -1]), rtol=1e-6)
        assert not time["key/kernel"].any() and not channel["value/kernel"].any() and time["value/kernel"].any()
