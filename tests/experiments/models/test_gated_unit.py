import numpy as np
import pytest
from keras import ops

from experiments.models.gated_unit import GatedUnit
from experiments.models.variants import GatedUpdate, gru, mamba

X = np.random.default_rng(0).normal(size=(2, 9, 6)).astype("float32")


def built(update):
    """A unit with one block, Lambda and a that are not the first ones."""
    unit = GatedUnit(update=update, num_gate_blocks=1, return_sequences=True)
    unit.build(X.shape)
    unit.decay_parameter.assign(np.linspace(-1, 2, 6))
    if update == "mamba":
        unit.log_exponent.assign(np.linspace(-0.5, 0.5, 6))
    return unit


@pytest.mark.parametrize("update", ["gru", "mamba"])
def test_the_unit_is_the_gated_update(update):
    unit = built(update)
    exponents = ops.convert_to_tensor(np.exp(np.linspace(-0.5, 0.5, 6, dtype="float32")))
    layer = GatedUpdate(*(gru() if update == "gru" else mamba(exponents)))
    layer.build(X.shape)
    layer.gate.kernel.assign(unit.recurrence_gate.blocks.kernel[0])
    layer.gate.bias.assign(-unit.decay_parameter)
    np.testing.assert_allclose(*(ops.convert_to_numpy(each(X)) for each in (unit, layer)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("update", ["gru", "mamba"])
def test_a_sequence_can_be_cut_and_reset(update):
    unit = built(update)
    whole = ops.convert_to_numpy(unit(X))
    first, state = unit.advance(X[:, :4], unit.initial_state(2))
    second, _ = unit.advance(X[:, 4:], state)
    np.testing.assert_allclose(
        np.concatenate([ops.convert_to_numpy(first), ops.convert_to_numpy(second)], axis=1), whole, rtol=1e-5, atol=1e-6
    )
    reset = np.arange(9)[None] == np.full((2, 1), 4)
    alone = ops.convert_to_numpy(unit(X[:, 4:]))
    np.testing.assert_allclose(ops.convert_to_numpy(unit(X, reset=reset))[:, 4:], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("update", ["gru", "mamba"])
def test_the_first_decays_are_in_their_range(update):
    unit = GatedUnit(update=update, return_sequences=True)
    unit.build((None, None, 512))
    zeros = np.zeros((1, 1, 512), "float32")
    traced = unit.trace_of(zeros, zeros)
    decays = np.exp(ops.convert_to_numpy(traced["log_decay"]))
    assert 0.9 <= decays.min() < 0.905 and 0.994 < decays.max() <= 0.9991
    np.testing.assert_allclose(ops.convert_to_numpy(traced["recurrence_gate"]), 1 - decays, atol=1e-6)


def test_a_gate_that_is_quite_open_has_a_finite_decay():
    unit = built("mamba")
    unit.decay_parameter.assign(np.full(6, -100.0))
    values = unit.trace_of(X, X)
    assert all(np.isfinite(ops.convert_to_numpy(value)).all() for value in values.values())


@pytest.mark.any_backend
def test_another_update_is_refused():
    with pytest.raises(ValueError, match="GatedUnit: update must be one of gru, mamba. Got 'lstm'."):
        GatedUnit(update="lstm")
