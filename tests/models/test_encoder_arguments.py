"""What a user of `keras.layers.LSTM` types at a `SequenceEncoder`."""

import re

import keras
import numpy as np
import pytest

from keras_griffin.models import SequenceEncoder

INPUTS = np.random.default_rng(0).normal(size=(3, 12, 2)).astype("float32")
AS_OPTION = "written as mixer_options={'recurrent': "
REFUSED = [
    ("units", 32, "written as width"),
    ("return_sequences", True, "left out: without a pool there is an output for each step"),
    ("return_sequences", False, 'written as pool="last"'),
    ("return_state", True, "left out: advance(inputs, state) returns the outputs and the state"),
    ("recurrent_dropout", 0.1, "written as dropout"),
    ("kernel_regularizer", "l2", "left out: weight_decay of keras.optimizers.AdamW takes its place"),
    *(
        (name, "x", "left out, as an LSTM's activations, initializers, constraints, biases and unroll")
        for name in (
            "activation",
            "recurrent_activation",
            "use_bias",
            "kernel_initializer",
            "bias_constraint",
            "unroll",
        )
    ),
    ("decay_range", (0.9, 0.99), AS_OPTION + "{'decay_range': (0.9, 0.99)}}"),
    ("decay_initializer", "ring", AS_OPTION + "{'decay_initializer': 'ring'}}"),
    ("unit_options", {}, AS_OPTION + "{'unit_options': {}}}"),
]
ONE_WAY = "left out: bidirectional=True reads in both directions, without keras.layers.Bidirectional"

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(("name", "value", "rule"), REFUSED)
def test_an_argument_of_another_layer_is_refused_with_its_name_here(name, value, rule):
    sentence = f"SequenceEncoder: {name} must be {rule}. Got {name}={value!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        SequenceEncoder(**{"width": 32, name: value} if name != "units" else {name: value})


def test_an_argument_of_a_mixer_is_for_the_one_in_the_pattern():
    for name in ("local_mqa", "sparse_mqa"):
        with pytest.raises(ValueError, match=rf"written as mixer_options={{'{name}': {{'rotary_base': 1.0}}}}\. Got"):
            SequenceEncoder(32, block_pattern=("rg_lru", name), rotary_base=1.0)
    with pytest.raises(ValueError, match="Unrecognized keyword arguments passed to SequenceEncoder"):
        SequenceEncoder(32, rotary_base=1.0)
    with pytest.raises(ValueError, match=r"passed to SequenceEncoder: {'poool': 'last'}; did you mean 'pool'\?$"):
        SequenceEncoder(32, poool="last")
    with pytest.raises(ValueError, match="^SequenceEncoder: block_pattern must be a list or tuple of mixers"):
        SequenceEncoder(32, block_pattern="recurrent")


def test_a_subclass_may_have_such_arguments():
    class Encoder(SequenceEncoder):
        def __init__(self, units, **options):
            super().__init__(units, **options)
            self.units = units

    assert Encoder(units=8, pool="last").width == 8
    with pytest.raises(ValueError, match="^Encoder: return_state must be left out"):
        Encoder(8, return_state=True)


def test_bidirectional_is_an_argument():
    with pytest.raises(ValueError, match=f"^SequenceEncoder: go_backwards must be {ONE_WAY}. Got go_backwards=True.$"):
        keras.layers.Bidirectional(SequenceEncoder(8))


@pytest.mark.parametrize("given", [np.ones((3, 8)), [np.ones((3, 8))] * 2, None])
def test_a_call_has_no_initial_state(given):
    sentence = "SequenceEncoder: a call must have no initial_state; advance(inputs, state) begins from a state. Got a "
    for inputs in (INPUTS, keras.Input((None, 2))):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}{type(given).__name__}.$"):
            SequenceEncoder(8)(inputs, initial_state=given)


def test_no_mlp():
    layer, wide = SequenceEncoder(8), SequenceEncoder(8, mlp_width=None)
    for each in (layer, wide):
        each(INPUTS)
    assert layer.blocks[0].mlp is None and wide.blocks[0].hidden_width == 16
    assert SequenceEncoder.from_config(layer.get_config()).blocks[0].mlp is None
    with pytest.raises(ValueError, match="^SequenceEncoder: mlp_width must be an integer of at least 0, or None"):
        SequenceEncoder(8, mlp_width=-1)


@pytest.mark.trainable
def test_what_keras_says_without_a_pool():
    """Layers don't see targets: as after `LSTM(return_sequences=True)`, "mse" broadcasts those of rows silently."""
    model = keras.Sequential([keras.Input((None, 2)), SequenceEncoder(8, 1), keras.layers.Dense(1)])
    for loss in ("mse", "mae"):
        for targets in (np.ones(3), np.ones((3, 1))):
            model.compile("sgd", loss)
            assert np.isfinite(model.fit(INPUTS, targets, verbose=0).history["loss"][0])
    model.compile("sgd", "binary_crossentropy")
    with pytest.raises(ValueError, match="Arguments `target` and `output` must have the same"):
        model.fit(INPUTS, np.ones((3, 1)), verbose=0)
    classes = keras.Sequential([keras.Input((None, 2)), model.layers[0], keras.layers.Dense(5)])
    for targets in (np.ones(3, "int32"), np.ones((3, 1), "int32")):
        classes.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        with pytest.raises(ValueError, match="must have (the same shape up until|rank)"):
            classes.fit(INPUTS, targets, verbose=0)


@pytest.mark.parametrize(("name", "value"), [("decay_range", (0.9, 0.99)), ("num_gate_blocks", 2)])
def test_an_option_that_the_unit_would_ignore_is_refused(name, value):
    sentence = f"SequenceEncoder: {name} must be left out, since s5 has none; the unit cg_lru has. Got {name}={value}."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        SequenceEncoder(32, mixer_options={"recurrent": {name: value}})
    made = SequenceEncoder(32, unit="cg_lru", mixer_options={"recurrent": {name: value}})
    assert SequenceEncoder.from_config(made.get_config()).mixer_options == made.mixer_options
