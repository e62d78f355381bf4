"""What a user of `keras.layers.LSTM` types: what means the same works, and what does not is refused."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_griffin import layers
from keras_griffin.layers import CGLRU, RGLRU, ResidualBlock
from keras_griffin.layers.base.foreign_arguments import checked_state, reject_foreign_arguments
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

UNITS = pytest.mark.parametrize("unit", [RGLRU, CGLRU])
INPUTS = np.random.default_rng(0).normal(size=(3, 7, 8)).astype("float32")
LAST = INPUTS[:, -1]


@UNITS
@pytest.mark.parametrize(
    ("positional", "named", "dense", "got"),
    [
        ((32,), {"return_sequences": True}, "32", "32"),
        ((32, "tanh"), {}, "32", "32, 'tanh'"),
        ((), {"units": 32}, "32", "32"),
        ((None,), {}, "units", "None"),
    ],
)
def test_units(unit, positional, named, dense, got):
    end = rf"put Dense\({dense}\) before it\. Got {got}\."
    with pytest.raises(ValueError, match=rf"^{unit.__name__} has no units: it keeps its input's width; {end}$"):
        unit(*positional, **named)


@UNITS
@pytest.mark.parametrize("argument", ["activation", "recurrent_dropout", "use_bias", "kernel_initializer", "unroll"])
def test_arguments_of_an_lstm(unit, argument):
    with pytest.raises(ValueError, match=rf"^{unit.__name__}: an LSTM's .* put Dropout .* Got {argument}='x'\.$"):
        unit(**{argument: "x"})


def test_a_gru_has_one_more_and_every_layers_arguments_stay():
    with pytest.raises(ValueError, match=r"must be left out; put Dropout before it\. Got reset_after=True, seed=1\."):
        reject_foreign_arguments(RGLRU, (), {"seed": 1, "reset_after": True, "name": "x", "exponent": 8.0})
    with pytest.raises(ValueError, match=r"Unrecognized keyword arguments passed to RGLRU: {'decay': 1}"):
        RGLRU(decay=1)
    RGLRU(name="x", dtype="mixed_bfloat16", trainable=False, activity_regularizer="l2")


@pytest.mark.parametrize("unit", layers.UNITS.values())
def test_a_misspelt_option_is_refused_with_the_nearest(unit):
    for wrong, right in (("return_sequencess", "return_sequences"), ("go_backward", "go_backwards"), ("nam", "name")):
        message = rf"passed to {unit.__name__}: {{'{wrong}': True}}; did you mean '{right}'\?$"
        with pytest.raises(ValueError, match=message):
            unit(**{wrong: True})


def test_a_subclass_may_have_units():
    class Widened(RGLRU):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units

    assert Widened(32).units == Widened(units=32, exponent=4.0).units == 32


def test_the_model_of_the_readme_has_one_output_a_row():
    """With every step's output, "mse" would broadcast (B, T, 1) against (B, 1) without a word."""
    readme = (Path(__file__).resolve().parents[3] / "README.md").read_text()
    (example,) = re.findall(r"```python\n(from keras_griffin\.layers import RGLRU\n.*?)```", readme, re.DOTALL)
    named = {}
    exec(example, named)
    assert named["model"](INPUTS).shape == (3, 1)


@UNITS
def test_stacked_as_an_lstm(unit):
    model = keras.Sequential([unit(return_sequences=True), unit(return_sequences=True), unit(), keras.layers.Dense(1)])
    assert model(INPUTS).shape == (3, 1)
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=2"):
        keras.Sequential([unit(), unit()])(INPUTS)
    assert keras.layers.Bidirectional(unit())(INPUTS).shape == (3, 16)


@UNITS
def test_an_initial_state_is_h_alone(unit):
    layer = unit()
    layer(INPUTS)
    expected = as_array(layer(INPUTS, initial_state=LAST))
    for same in ([LAST], (LAST,), [LAST.tolist()], layer.initial_state(3)._replace(hidden=LAST)):
        assert_close(layer(INPUTS, initial_state=same), expected)
    name = unit.__name__
    for several in ([LAST, LAST], (LAST, LAST, LAST), []):
        with pytest.raises(ValueError, match=rf"{name}: initial_state must be h, .*: there is no c\. Got a .* of"):
            layer(INPUTS, initial_state=several)
    for wrong in (LAST[:1], LAST[:, :5], INPUTS, np.float32(0)):
        with pytest.raises(ValueError, match=rf"{name}: initial_state must have shape \(B, R\) = \(3, 8\)\. Got \("):
            layer(INPUTS, initial_state=wrong)


def test_an_initial_state_in_a_functional_model():
    inputs, hidden = keras.Input((None, 8)), keras.Input((5,))
    outputs, state = RGLRU(return_state=True)(inputs)
    decoded = RGLRU(return_sequences=True)(inputs, initial_state=[state])
    assert [x.shape for x in keras.Model(inputs, [outputs, decoded])(INPUTS)] == [(3, 8), (3, 7, 8)]
    with pytest.raises(ValueError, match=r"there is no c\. Got a list of 2\."):
        RGLRU()(inputs, initial_state=[state, state])
    with pytest.raises(ValueError, match=r"must have shape \(B, R\) = \(None, 8\)\. Got \(None, 5\)\."):
        RGLRU()(inputs, initial_state=hidden)
    assert checked_state("RGLRU", (state,), {"hidden": (None, 8)}) == [state]


def test_marks_of_a_call_have_names():
    """An LSTM's third argument is a mask; where `reset` stood there, it would be taken for one."""
    with pytest.raises(TypeError, match="positional argument"):
        RGLRU()(INPUTS, LAST, np.ones((3, 7), bool))
    # And `training` is an argument of every call.
    assert RGLRU()(INPUTS, training=True).shape == (3, 8)


@UNITS
def test_weights_of_a_stateful_and_a_stateless_unit_are_interchangeable(unit):
    plain = keras.Sequential([keras.Input((7, 8)), unit(), keras.layers.Dense(2)])
    kept = keras.Sequential([keras.Input(batch_shape=(3, 7, 8)), unit(stateful=True), keras.layers.Dense(2)])
    kept.set_weights(plain.get_weights())
    assert_close(kept(INPUTS), as_array(plain(INPUTS)))
    assert kept.count_params() == plain.count_params()
    plain.set_weights(kept.get_weights())
    (state,) = kept.layers[0].states
    assert not any(state is weight for weight in kept.weights) and any(state is variable for variable in kept.variables)


@UNITS
def test_the_batch_of_a_stateful_unit_is_the_one_it_was_built_with(unit):
    layer = unit(stateful=True)
    assert layer.compute_output_spec(keras.Input((7, 8))).shape == (None, 8)  # not built yet
    layer(INPUTS)
    with pytest.raises(ValueError, match=r"batches must have the size .* built with, 3\. Got inputs \(2, 7, 8\)\."):
        layer(INPUTS[:2])


def test_a_block_needs_every_step_of_its_mixer():
    """The last output alone would be added to each step wherever batch and time are equally long."""
    with pytest.raises(ValueError, match=r"ResidualBlock: the mixer must .* Got RGLRU from \(3, 3, 8\) to \(3, 8\)\."):
        ResidualBlock(RGLRU(), hidden_width=4).build((3, 3, 8))
    ResidualBlock(RGLRU(return_sequences=True), hidden_width=4).build([None, None, 8])
