"""Mamba-2 against its equations in NumPy, and what its authors' code sets at the start."""

import numpy as np
import pytest

from keras_griffin.mixers import Mamba2
from tests.layers.units.definitions import built, check_equations, named
from tests.mixers.test_mamba import silu

OPTIONS = {"state_size": 3, "num_heads": 4, "groups": 2, "conv_kernel_size": 3}


def step(weights, u, state):
    """Head n of 4 has three of the channels of x, and the first or the second b and c of two."""
    earlier, memory = state
    entering = [u @ weights[f"{name}/kernel"] for name in ("input_projection", "key", "query")]
    seen = np.concatenate([earlier, np.concatenate(entering, -1)[:, None]], axis=1)
    x, b, c = np.split(silu((seen * weights["conv_kernel"]).sum(1) + weights["conv_bias"]), [12, 18], -1)
    x, b, c = x.reshape(-1, 4, 3), np.repeat(b.reshape(-1, 2, 3), 2, 1), np.repeat(c.reshape(-1, 2, 3), 2, 1)
    s = np.log1p(np.exp(u @ weights["step/kernel"] + weights["dynamics/step_bias"]))
    decay = np.exp(-s * np.exp(weights["dynamics/log_rates"]))[..., None, None]
    memory = decay * memory + s[..., None, None] * b[..., None] * x[..., None, :]
    y = np.einsum("bnkp,bnk->bnp", memory, c) + weights["feedthrough"][:, None] * x
    y = y.reshape(-1, 12) * silu(u @ weights["gate/kernel"])
    y = y.reshape(-1, 2, 6)
    y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 0.1)
    y = y.reshape(-1, 12) * (1 + weights["scale"])
    return y @ weights["output_projection/kernel"], [seen[:, 1:], memory]


def test_equations():
    check_equations(built(Mamba2(**OPTIONS, norm_epsilon=0.1)), step)


@pytest.mark.any_backend
def test_initial_values():
    layer = Mamba2(state_size=3, num_heads=600, output_variance_scale=1 / 12)
    layer.build((None, None, 300))
    weights = named(layer)
    limits = {"input_projection": 300**-0.5, "step": 300**-0.5, "output_projection": 0.5 * 600**-0.5}
    for name, limit in limits.items():
        kernel = np.abs(weights[f"{name}/kernel"])
        assert 0.99 * limit < kernel.max() <= limit
        np.testing.assert_allclose(kernel.mean(), limit / 2, rtol=0.03)
    assert 0.49 < np.abs(weights["conv_kernel"]).max() <= 0.5
    rates, steps = np.exp(weights["dynamics/log_rates"]), np.log1p(np.exp(weights["dynamics/step_bias"]))
    assert 1 < rates.min() < 1.1 and 15.9 < rates.max() < 16
    np.testing.assert_allclose(rates.mean(), 8.5, rtol=0.05)
    assert 0.001 < steps.min() < 0.0012 and 0.09 < steps.max() < 0.1
    np.testing.assert_allclose(np.log(steps).mean(), np.log(0.01), rtol=0.05)
    assert (weights["feedthrough"] == 1).all() and not weights["scale"].any()


@pytest.mark.any_backend
@pytest.mark.parametrize(("expand", "heads"), [(1, (4, 3)), (2, (4, 6)), (16, (4, 48)), (32, (6, 64))])
def test_heads_have_64_channels_but_there_are_at_least_four(expand, heads):
    num_heads, _, channels = Mamba2.state_of(12, 0, expand=expand)["memory"].shape
    assert (num_heads, channels) == heads


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_heads": 5}, r"num_heads must divide the width\. Got num_heads 5 and width 24\."),
        ({"groups": 3}, r"groups must divide 4, the heads\. Got 3\."),
    ],
)
def test_what_does_not_divide_is_refused(options, sentence):
    with pytest.raises(ValueError, match=rf"^Mamba2: {sentence}$"):
        Mamba2(**options).build((None, None, 12))
