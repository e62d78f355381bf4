import numpy as np
import pytest
from keras import ops

from keras_griffin.layers import CGLRU, RGLRU
from keras_griffin.training.numerics.decay_report import DecayReport, decay_sums, report_of

RNG = np.random.default_rng(0)
#: Lambda from decays of 0.5^8 at full gate to some so close to 1 that the bound is reached.
LAMBDA = np.array([0.0, 4.0, 6.0, 8.0, 10.0, 15.0, 17.0, 20.0], "float32")


def layer_and_inputs(kind=RGLRU):
    width = 16 if kind is CGLRU else 8
    layer = kind(num_gate_blocks=2)
    layer.build((None, None, width))
    layer.decay_parameter.assign(LAMBDA)
    return layer, RNG.normal(size=(3, 5, width)).astype("float32")


def decays(layer, inputs):
    """a_t and 1 - a_t^2 by the paper's equations, in float64."""
    gate = 1 / (1 + np.exp(-ops.convert_to_numpy(layer.recurrence_gate(inputs)).astype("float64")))
    log_decay = -8 * gate * np.log1p(np.exp(-LAMBDA.astype("float64")))
    return np.exp(log_decay), -np.expm1(2 * log_decay)


def report(layer, inputs, reset, mask, threshold):
    sums = decay_sums(layer.decays_of(inputs), reset, mask, threshold)
    return report_of("here", [ops.convert_to_numpy(tensor) for tensor in sums])


@pytest.mark.parametrize("kind", [RGLRU, CGLRU])
def test_shares_are_those_of_the_equations(kind):
    layer, inputs = layer_and_inputs(kind)
    decay, rest = decays(layer, inputs)
    found = report(layer, inputs, None, None, 0.999)
    np.testing.assert_allclose(found.slow, (decay > 0.999).mean((0, 1)), atol=1e-12)
    np.testing.assert_allclose(found.bounded, (rest <= 2.5e-7).mean((0, 1)), atol=1e-12)
    assert 0 < found.slow_steps < 1 and 0 < found.bounded_sqrt_hits < found.slow_steps
    assert report(layer, inputs, None, None, 0.9).slow_steps > found.slow_steps


def test_padding_and_the_starts_of_documents_are_left_out():
    layer, inputs = layer_and_inputs()
    reset, mask = RNG.random((2, 3, 5)) < 0.5
    decay, _ = decays(layer, inputs)
    found = report(layer, inputs, ops.convert_to_tensor(reset), ops.convert_to_tensor(mask), 0.999)
    np.testing.assert_allclose(found.slow, (decay > 0.999)[mask & ~reset].mean(0), rtol=1e-6)


def test_a_channel_is_slow_that_is_so_at_most_steps():
    report = DecayReport("block_0/mixer/rg_lru", np.array([0.4, 0.6, 1.0, 0.0]), np.array([0.0, 0.0, 0.1, 0.0]))
    assert (report.slow_channels, report.slow_steps, report.bounded_sqrt_hits) == (0.5, 0.5, 0.025)
    assert str(report) == (
        "block_0/mixer/rg_lru: 50.0% of the channels slow, 50.0% of the steps; sqrt at its bound in 2.50%"
    )
