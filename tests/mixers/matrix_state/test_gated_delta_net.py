"""Gated DeltaNet against its equations in NumPy, and what its authors' code sets at the start."""

import numpy as np
import pytest

from keras_griffin.mixers import GatedDeltaNet
from keras_griffin.testing.arrays import as_array
from tests.layers.units.definitions import built, check_equations, named, sigmoid

#: G, N, H and P.
GROUPS, HEADS, CHANNELS, VALUES = 2, 4, 3, 2
OPTIONS = {"num_value_heads": HEADS, "head_dim": CHANNELS, "value_head_dim": VALUES, "conv_kernel_size": 3}


def silu(x):
    return x * sigmoid(x)


def step(weights, x, state):
    earlier, memory = state
    entering = np.concatenate([x @ weights[f"{name}/kernel"] for name in ("query", "key", "value")], -1)
    seen = np.concatenate([earlier, entering[:, None]], axis=1)
    mixed = silu((seen * weights["conv_kernel"]).sum(1))
    query, key, value = np.split(mixed, [GROUPS * CHANNELS, 2 * GROUPS * CHANNELS], axis=-1)
    query, key = (
        np.repeat(each / np.sqrt((each**2).sum(-1, keepdims=True) + 1e-6), HEADS // GROUPS, axis=1)
        for each in (part.reshape(-1, GROUPS, CHANNELS) for part in (query, key))
    )
    if "dynamics/log_rates" in weights:
        steps = np.log1p(np.exp(x @ weights["step/kernel"] + weights["dynamics/step_bias"]))
        memory = np.exp(-np.exp(weights["dynamics/log_rates"]) * steps)[..., None, None] * memory
    error = value.reshape(-1, HEADS, VALUES) - np.einsum("bnhp,bnh->bnp", memory, key)
    rates = sigmoid(x @ weights["rate/kernel"])[..., None]
    memory = memory + key[..., None] * (rates * error)[..., None, :]
    read = np.einsum("bnhp,bnh->bnp", memory, query) / np.sqrt(CHANNELS)
    read = read / np.sqrt((read**2).mean(-1, keepdims=True) + 1e-6) * weights["norm_scale"]
    gate = silu(x @ weights["gate/kernel"])
    return (read.reshape(len(x), -1) * gate) @ weights["output_projection/kernel"], [seen[:, 1:], memory]


@pytest.mark.parametrize("forget_gate", [True, False])
def test_equations(forget_gate):
    check_equations(built(GatedDeltaNet(GROUPS, forget_gate=forget_gate, **OPTIONS)), step)


def test_sizes_follow_from_the_width():
    shapes = {path: weight.shape for path, weight in GatedDeltaNet.weights_of(2048, num_heads=6).items()}
    assert (shapes["key/kernel"], shapes["value/kernel"]) == ((2048, 6 * 256), (2048, 6 * 512))
    # As in Qwen3-Next.
    few = GatedDeltaNet.state_of(2048, 0, num_heads=16, num_value_heads=32, head_dim=128)
    assert (few["inputs"].shape, few["memory"].shape) == ((3, 8192), (32, 128, 128))
    with pytest.raises(
        ValueError, match="^GatedDeltaNet: num_value_heads must be a multiple of num_heads. Got 6 and 4.$"
    ):
        GatedDeltaNet(4, 6)


def test_initial_decays():
    """Rates up to 16, steps from 0.001 to 0.1."""
    layer = GatedDeltaNet(500, head_dim=1)
    layer.build((None, None, 4))
    weights = named(layer)
    rates, steps = np.exp(weights["dynamics/log_rates"]), np.log1p(np.exp(weights["dynamics/step_bias"]))
    assert 0.0 < rates.min() < 0.5 and 15.5 < rates.max() <= 16.0
    np.testing.assert_allclose(rates.mean(), 8.0, rtol=0.1)
    assert 0.001 <= steps.min() < 0.0012 and 0.08 < steps.max() <= 0.1
    assert np.all(as_array(layer.norm_scale) == 1.0)
