"""Units as mixers: in their authors' block, in Griffin's shell, and by their names in a pattern."""

import keras
import numpy as np
import pytest

from keras_griffin.layers import LRU
from keras_griffin.mixers import RecurrentBlock, UnitBlock, find_mixer
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from tests.layers.units.definitions import gelu, sigmoid

INPUTS = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")


def dense(layer, x):
    kernel, bias = (np.asarray(as_array(weight), "float64") for weight in layer.weights)
    return x @ kernel + bias


def test_readouts():
    for readout in ("dense", "glu", None):
        block = UnitBlock("lru", readout)
        outputs = as_array(block(INPUTS))
        mixed = np.asarray(as_array(block.recurrence(INPUTS)), "float64")
        expected = dense(block.output_projection, mixed)
        if readout != "dense":  # the LRU's own is a gated linear unit
            expected = dense(block.output_projection, gelu(mixed)) * sigmoid(dense(block.gate, gelu(mixed)))
        assert_close(outputs, expected)


def test_units_in_griffins_shell():
    block = RecurrentBlock(12, unit="lru", unit_options={"state_size": np.int64(4), "ring": (0.5, 0.9)})
    outputs = as_array(block(INPUTS))
    mixed = block.lru(block.conv(block.input_projection(INPUTS)))
    expected = block.output_projection(keras.activations.gelu(block.gate(INPUTS), approximate=True) * mixed)
    assert_close(outputs, as_array(expected))
    assert isinstance(block.lru, LRU) and block.lru.state_size == 4
    assert block.get_config()["unit_options"] == {"state_size": 4, "ring": (0.5, 0.9)}


def test_the_blocks_options_reach_only_units_that_have_them():
    block = RecurrentBlock(12, num_gate_blocks=3, decay_range=(0.5, 0.6), unit="cg_lru")
    block.build((None, None, 8))
    assert block.cg_lru.num_gate_blocks == 3 and block.cg_lru.decay_range == (0.5, 0.6)
    RecurrentBlock(12, num_gate_blocks=3, unit="gilr").build((None, None, 8))


def test_a_name_in_a_pattern():
    assert find_mixer("recurrent") == (RecurrentBlock, {})
    assert find_mixer("s5") == (UnitBlock, {"unit": "s5"})
    with pytest.raises(
        ValueError,
        match=r"^find_mixer: a mixer must be one of recurrent, .*, s5.* Got 'lstm'; did you mean 'mlstm'\?$",
    ):
        find_mixer("lstm")


def test_a_pattern_of_units_and_new_names():
    config = GriffinConfig(
        *(11, 8, 4, 2),
        block_pattern=("lru", "wide", "shell", "local_mqa"),
        window=4,
        num_gate_blocks=2,
        mixer_options={
            "lru": {"readout": "dense", "unit_options": {"state_size": 5}},
            "wide": {"mixer": "local_mqa", "window": 9},
            "shell": {"mixer": "recurrent", "unit": "qrnn", "unit_options": {"taps": 1}},
        },
    )
    model = Griffin(config)
    assert model.count_params() == config.parameter_count()
    assert [block.mixer.window for block in model.blocks if hasattr(block.mixer, "window")] == [9, 4]
    token_ids = np.arange(10)[None] % 11
    logits, advance = as_array(compiled(model)(token_ids)), compiled(model.advance)
    _, state = advance(token_ids[:, :5], model.initial_state(1))
    rest, _ = advance(token_ids[:, 5:], state)
    assert_close(rest, logits[:, 5:])
    assert GriffinConfig(**config.to_dict()) == config


@pytest.mark.parametrize(
    ("pattern", "options", "message"),
    [
        (("lru",), {"lru": {"unit": "s5"}}, r"mixer_options of lru must be among readout, .* Got unit"),
        (("wide",), {}, r"block_pattern must be a list or tuple of mixers among .* Got block_pattern \('wide',\)"),
        (("wide",), {"wide": {"mixer": "lstm"}}, r"block_pattern must be a list or tuple of mixers among "),
        (("lru",), {"lru": {"readout": "both"}}, r"UnitBlock: readout must be one of dense, glu, or None\. Got 'both'"),
    ],
)
def test_a_pattern_that_cannot_be(pattern, options, message):
    with pytest.raises(ValueError, match=message):
        GriffinConfig(11, 8, 4, 2, block_pattern=pattern, mixer_options=options)
