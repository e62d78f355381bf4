"""The conventions of Keras's recurrent layers, for every unit."""

import functools

import keras
import numpy as np
import pytest

from keras_griffin.layers import LSLSTM, QRNN, RGLRU, UNITS, SelectiveSSM
from keras_griffin.layers.units.projected_unit import ProjectedUnit
from keras_griffin.testing import contracts
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

#: Keras's NumPy says where numbers overflow.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
EACH = pytest.mark.parametrize("unit", UNITS.values())
#: Of one state and of several, with a convolution, and with a matrix: the conventions that the base class keeps alone.
SOME = pytest.mark.parametrize("unit", [RGLRU, LSLSTM, QRNN, SelectiveSSM])
INPUTS = np.random.default_rng(0).normal(size=(3, 7, 8)).astype("float32")


def sharing(unit, weights_of, **kwargs):
    """A new unit with the weights of another."""
    layer = unit(**{"return_sequences": True, **kwargs})
    layer(INPUTS)
    for new, old in zip(layer.trainable_variables, weights_of.trainable_variables, strict=True):
        new.assign(old)
    return layer


@pytest.fixture
def plain(request):
    unit = request.getfixturevalue("unit")
    layer = unit(return_sequences=True)
    layer(INPUTS)
    return layer


@SOME
def test_return_state_and_last_output(unit, plain):
    outputs = as_array(plain(INPUTS))
    both = sharing(unit, plain, return_state=True)(INPUTS)
    assert isinstance(both, list) and len(both) == 1 + len(unit.state_type._fields)
    assert_close(both[0], outputs)
    _, state = plain.advance(INPUTS, plain.initial_state(3))
    for part, expected in zip(both[1:], state, strict=True):
        assert_close(part, as_array(expected))
    if plain.repeats_outputs:
        assert_close(both[1], outputs[:, -1])
    assert_close(sharing(unit, plain, return_sequences=False)(INPUTS), outputs[:, -1])


@SOME
def test_initial_state_goes_on(unit, plain):
    layer = sharing(unit, plain, return_state=True)
    first, *state = layer(INPUTS[:, :3])
    rest, *_ = layer(INPUTS[:, 3:], initial_state=state)
    assert_close(np.concatenate([as_array(first), as_array(rest)], 1), as_array(plain(INPUTS)))
    assert_close(layer(INPUTS, initial_state=layer.get_initial_state(3))[0], as_array(plain(INPUTS)))


@EACH
def test_documents_stay_apart(unit):
    """In `call` too, which repeats what is before a masked step."""
    contracts.documents_stay_apart(contracts.Subject(functools.partial(unit, return_sequences=True), 8))


@EACH
def test_go_backwards_gives_outputs_in_processing_order(unit, plain):
    backwards = sharing(unit, plain, go_backwards=True)
    assert_close(backwards(INPUTS), as_array(plain(INPUTS[:, ::-1].copy())))
    reset, mask = np.zeros((3, 7), bool), np.ones((3, 7), bool)
    reset[:, 4], mask[0, [0, 3, 6]], mask[2] = True, False, False
    flipped = as_array(plain(INPUTS[:, ::-1].copy(), reset=reset[:, ::-1].copy(), mask=mask[:, ::-1].copy()))
    # What was processed before the reset.
    bad = np.where(np.arange(7)[:, None] > 4, np.nan, INPUTS)
    assert_close(as_array(backwards(bad, reset=reset, mask=mask))[:, 2:], flipped[:, 2:])
    assert_close(
        sharing(unit, backwards, go_backwards=True, return_sequences=False)(bad, reset=reset, mask=mask), flipped[:, -1]
    )


@SOME
def test_a_stateful_layer_goes_on_until_reset_state_in_predict_too(unit, tmp_path):
    inputs = keras.Input(batch_shape=(3, 7, 8))
    layer = unit(return_sequences=True, stateful=True)
    model = keras.Model(inputs, layer(inputs))
    first, second = (model.predict(INPUTS, batch_size=3, verbose=0) for _ in range(2))
    twice = as_array(sharing(unit, layer)(np.concatenate([INPUTS, INPUTS], 1)))
    assert_close(first, twice[:, :7])
    assert_close(second, twice[:, 7:])
    layer.reset_state()
    assert_close(np.concatenate([as_array(layer(INPUTS[:, :3])), as_array(layer(INPUTS[:, 3:]))], 1), first)
    layer.reset_states()
    assert_close(layer(INPUTS), first)
    # A loaded model starts without a state.
    model.save(tmp_path / "model.keras")
    assert_close(keras.saving.load_model(tmp_path / "model.keras")(INPUTS), first)


@SOME
def test_bidirectional(unit):
    layer = keras.layers.Bidirectional(unit(return_sequences=True))
    outputs = as_array(layer(INPUTS))
    forward, backward = layer.forward_layer, layer.backward_layer
    assert backward.go_backwards and outputs.shape == (3, 7, 16)
    assert_close(outputs[..., :8], as_array(forward(INPUTS)))
    assert_close(outputs[..., 8:], as_array(backward(INPUTS))[:, ::-1])
    # With a mask it sees no padding.
    padded = as_array(layer(INPUTS, mask=np.tile(np.arange(7) < 5, (3, 1))))
    assert_close(padded[:, :5], as_array(layer(INPUTS[:, :5])))
    np.testing.assert_array_equal(padded[:, 5:], 0)


@SOME
def test_time_distributed(unit, plain):
    outputs = as_array(keras.layers.TimeDistributed(plain)(np.stack([INPUTS, 2 * INPUTS], axis=1)))
    for place in (0, 1):
        assert_close(outputs[:, place], as_array(plain((1 + place) * INPUTS)))


@EACH
def test_a_masked_step_repeats_the_output(unit, plain):
    mask = np.tile(np.arange(7) < 4, (3, 1))
    outputs = as_array(plain(INPUTS, mask=mask))
    assert_close(outputs[:, 4:], np.repeat(outputs[:, 3:4], 3, axis=1))
    reset = np.tile(np.arange(7) == 3, (3, 1))
    bad = np.where(np.arange(7)[:, None] < 3, np.nan, INPUTS)
    assert_close(plain(bad, reset=reset, mask=mask)[:, 3:], as_array(plain(INPUTS, reset=reset, mask=mask))[:, 3:])


@EACH
def test_symbolic_shapes(unit):
    sequence = keras.Input((None, 8))
    layer = unit(return_sequences=True, return_state=True)
    outputs, *state = layer(sequence)
    kept = unit.state_of(8, 0)
    assert outputs.shape == (None, None, 8) and [x.shape for x in state] == [(None, *x.shape) for x in kept.values()]
    assert [keras.backend.standardize_dtype(x.dtype) for x in state] == [x.dtype or "float32" for x in kept.values()]
    assert unit()(sequence).shape == (None, 8)
    shapes = ((2, 8), *((2, *x.shape) for x in kept.values()))
    assert unit(return_state=True).compute_output_shape((2, None, 8)) == shapes


@EACH
def test_saved_and_loaded_without_custom_objects(unit, tmp_path):
    first, last = unit(return_sequences=True), keras.layers.Bidirectional(unit())
    model = keras.Sequential([keras.Input((None, 8)), first, last])
    model.save(tmp_path / "model.keras")
    assert_close(keras.saving.load_model(tmp_path / "model.keras")(INPUTS), as_array(model(INPUTS)))


def test_a_stateful_layer_must_know_its_batch_size():
    with pytest.raises(ValueError, match=r"RGLRU: a stateful layer must know its batch size\. Got .* \(None, 7, 8\)"):
        RGLRU(stateful=True).build((None, 7, 8))


@SOME
def test_bidirectional_returns_both_states(unit):
    inputs = keras.Input((7, 8))
    layer = keras.layers.Bidirectional(unit(return_sequences=True, return_state=True))
    model = keras.Model(inputs, layer(inputs, mask=None))
    state = [(3, *x.shape) for x in unit.state_of(8, 0).values()]
    assert [tuple(x.shape) for x in model(INPUTS)] == [(3, 7, 16), *state, *state]


@SOME
@pytest.mark.trainable
def test_a_stateful_layer_is_trained(unit):
    layer = unit(return_sequences=True, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=INPUTS.shape), layer])
    model.compile("sgd", "mse")
    before = [as_array(weight) for weight in layer.trainable_variables]
    model.fit(INPUTS, INPUTS, batch_size=3, epochs=2, verbose=0)
    for weight, first in zip(layer.trainable_variables, before, strict=True):
        assert np.abs(as_array(weight) - first).max() > 0, weight.path
    assert all(np.abs(as_array(kept)).max() > 0 for kept in layer.states)
    assert unit().states is None


def test_units_are_the_width_of_the_outputs():
    """The line of an LSTM user."""
    for unit in ProjectedUnit.__subclasses__():
        assert keras.layers.Bidirectional(unit(5))(INPUTS).shape == (3, 10)
        assert unit(5, return_sequences=True).compute_output_shape((3, 7, 8)) == (3, 7, 5)
        with pytest.raises(ValueError, match=rf"^{unit.__name__}: units must be .* or None\. Got 0\.$"):
            unit(0)
        with pytest.raises(ValueError, match=r"put Dropout before it\. Got recurrent_dropout=0.1\.$"):
            unit(5, recurrent_dropout=0.1)


def test_an_initial_state_of_other_parts():
    layer = QRNN(5)
    layer(INPUTS)
    for wrong, got in ((np.zeros((3, 5)), "one"), ([np.zeros((3, 5))], "a list of 1")):
        with pytest.raises(ValueError, match=rf"QRNN: initial_state must be a list of cell and inputs\. Got {got}\."):
            layer(INPUTS, initial_state=wrong)
    with pytest.raises(ValueError, match=r"inputs of initial_state must have shape \(3, 1, 8\)\. Got \(3, 8\)\."):
        layer(INPUTS, initial_state=[np.zeros((3, 5)), np.zeros((3, 8))])


def test_the_last_output_is_that_of_the_last_real_step():
    """The output of an LS-LSTM is no part of its state; before the first real step there is none."""
    layer = LSLSTM()
    layer(INPUTS)
    mask = np.ones((3, 7), bool)
    mask[0, 4:], mask[1] = False, False
    outputs = as_array(layer(INPUTS, mask=mask))
    assert_close(outputs[:1], as_array(layer(INPUTS[:1, :4])))
    assert_close(outputs[1], np.zeros(8))
    assert_close(outputs[2:], as_array(layer(INPUTS[2:])))


@SOME
def test_of_no_steps_the_output_is_that_of_the_state(unit):
    layer = unit()
    layer(INPUTS)
    assert_close(layer(INPUTS[:, :0]), np.zeros((3, 8)))
