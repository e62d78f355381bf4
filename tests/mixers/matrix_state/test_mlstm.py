"""mLSTM against its equations in NumPy: the paper's state, and its authors' stabilised one."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.mixers import MLSTM
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient
from tests.layers.units.definitions import BATCH, WIDTH, built, check_equations, named, run
from tests.mixers.test_mamba import silu

HEADS, CHANNELS = 2, 6


def before_cell(weights, x, earlier):
    """q, k, v `(B, N, H)`, i and log f `(B, N)`, c, and the inputs of the convolution."""
    u = x @ weights["input_projection/kernel"]
    seen = np.concatenate([earlier, u[:, None]], axis=1)
    c = silu((seen * weights["conv_kernel"]).sum(1) + weights["conv_bias"])
    q, k, v = (
        np.einsum("bgi,gij->bgj", part.reshape(len(x), 4, 3), weights[f"{name}/blocks/kernel"]).reshape(len(x), -1)
        for name, part in (("query", c), ("key", c), ("value", u))
    )
    i, f = (
        np.concatenate([q, k, v], -1) @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]
        for name in ("input_gate", "forget_gate")
    )
    q, k, v = (part.reshape(-1, HEADS, CHANNELS) for part in (q, k, v))
    return q, k * CHANNELS**-0.5, v, i, -np.logaddexp(0, -f), c, seen[:, 1:]


def after_cell(weights, x, h, c):
    h = h - h.mean(-1, keepdims=True)
    h = h / np.sqrt((h**2).mean(-1, keepdims=True) + 1e-5)
    h = h.reshape(len(x), -1) * (1 + weights["scale"]) + weights["skip"] * c
    return (h * silu(x @ weights["gate/kernel"])) @ weights["output_projection/kernel"]


def step(weights, x, state):
    """The paper's: S and n themselves, here recovered from what is kept of them."""
    earlier, memory, log_weight = state
    # A reset makes the state zeros; here the logarithm of no weight is -1e30.
    log_weight = np.where((memory == 0).all((-1, -2)), -np.inf, log_weight)
    q, k, v, i, log_f, c, seen = before_cell(weights, x, earlier)
    both = np.exp(log_weight)[..., None, None] * memory
    v = np.concatenate([v, np.ones_like(v[..., :1])], -1)
    both = np.exp(log_f)[..., None, None] * both + np.exp(i)[..., None, None] * k[..., None] * v[..., None, :]
    read = np.einsum("bnkp,bnk->bnp", both, q)
    h = read[..., :-1] / np.maximum(np.abs(read[..., -1:]), 1)
    log_weight = np.logaddexp(log_weight + log_f, i)
    return after_cell(weights, x, h, c), [seen, both / np.exp(log_weight)[..., None, None], log_weight]


def stabilised_step(weights, x, state):
    """The authors': S and n over exp(m), where m is the largest logarithm of a weight so far, and 0 at the start."""
    earlier, memory, m = state
    q, k, v, i, log_f, c, seen = before_cell(weights, x, earlier)
    new = np.maximum(log_f + m, i)
    v = np.concatenate([v, np.ones_like(v[..., :1])], -1)
    past, present = np.exp(log_f + m - new)[..., None, None], np.exp(i - new)[..., None, None]
    memory = past * memory + present * k[..., None] * v[..., None, :]
    read = np.einsum("bnkp,bnk->bnp", memory, q)
    h = read[..., :-1] / np.maximum(np.abs(read[..., -1:]), np.exp(-new)[..., None])
    return after_cell(weights, x, h, c), [seen, memory, new]


def layer_with(input_bias):
    layer = built(MLSTM(num_heads=HEADS, num_blocks=4, conv_kernel_size=3))
    bias = layer.input_gate.bias
    bias.assign(as_array(bias) + input_bias)
    return layer


@pytest.mark.parametrize("input_bias", [0.0, 3.0])
def test_equations(input_bias):
    """Where 1 is the larger of the two, and where it is not."""
    check_equations(layer_with(input_bias), step)


@pytest.mark.trainable
@pytest.mark.parametrize("size", [50.0, 1e4, -1e4])
def test_input_gates_of_any_size(size):
    """The authors' stabilised step says the same, where exp(i) itself would overflow or vanish."""
    layer = layer_with(size)
    inputs = np.random.default_rng(1).normal(size=(BATCH, 40, WIDTH)).astype("float32")
    value, gradients = value_and_gradient(lambda x: ops.sum(layer(x) ** 2), inputs)
    assert np.isfinite(value) and np.isfinite(gradients[0]).all()
    outputs, (_, memory, log_weight) = layer.advance(inputs, layer.initial_state(BATCH))
    start = [np.zeros(part.shape) for part in layer.initial_state(BATCH)]
    no_reset, all_real = np.zeros((BATCH, 40), bool), np.ones((BATCH, 40), bool)
    expected, (_, stable, m) = run(stabilised_step, named(layer), inputs.astype("float64"), start, no_reset, all_real)
    # A gate of 50 has a rounding error of 2e-6 in float32, one of 1e4 of 5e-4; several come together.
    factor = 1 + abs(size) / 20
    assert_close(outputs, expected, factor=factor)
    ratio = np.exp(as_array(log_weight).astype("float64") - m)[..., None, None]
    assert_close(ratio * as_array(memory), stable, "float32", factor=factor)
