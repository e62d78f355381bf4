"""Mamba against its equations in NumPy, and what its authors' code sets at the start."""

import numpy as np

from keras_griffin.mixers import Mamba
from tests.layers.units.definitions import built, check_equations, named, sigmoid
from tests.layers.units.test_selective_ssm import step as ssm

OPTIONS = {"state_size": 3, "conv_kernel_size": 3}


def silu(x):
    return x * sigmoid(x)


def step(weights, x, state):
    earlier, hidden = state
    u = x @ weights["input_projection/kernel"]
    seen = np.concatenate([earlier, u[:, None]], axis=1)
    u = silu((seen * weights["conv/kernel"]).sum(1) + weights["conv/bias"])
    inner = {path.removeprefix("ssm/"): weight for path, weight in weights.items() if path.startswith("ssm/")}
    y, (hidden,) = ssm(inner, u, [hidden])
    output = (y * silu(x @ weights["gate/kernel"])) @ weights["output_projection/kernel"]
    return output, [seen[:, 1:], hidden]


def test_equations():
    check_equations(built(Mamba(**OPTIONS)), step)


def test_initial_kernels_are_uniform():
    layer = Mamba(output_variance_scale=1 / 12)
    layer.build((None, None, 100))
    weights = named(layer)
    for name, limit in (("input_projection", 0.1), ("gate", 0.1), ("output_projection", 0.5 * 200**-0.5)):
        kernel = np.abs(weights[f"{name}/kernel"])
        assert 0.99 * limit < kernel.max() <= limit
        np.testing.assert_allclose(kernel.mean(), limit / 2, rtol=0.03)
    assert weights["ssm/step/kernel"].shape == (7, 200)  # 100 / 16, rounded up
