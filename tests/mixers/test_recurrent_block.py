"""The recurrent block, part by part."""

import keras
import numpy as np

from keras_griffin.mixers import RecurrentBlock
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

INPUTS = np.random.default_rng(0).normal(size=(2, 6, 12)).astype("float32")


def test_figure_2c():
    block = RecurrentBlock(16, num_gate_blocks=2)
    block.build((None, None, 12))
    for i, weight in enumerate(block.weights):
        weight.assign(as_array(weight) + 0.3 * np.random.default_rng(i).normal(size=weight.shape))
    gate = keras.activations.gelu(block.gate(INPUTS), approximate=True)
    first = np.zeros((2, 6), bool)
    first[:, 0] = True
    recurrent = block.rg_lru(block.conv(block.input_projection(INPUTS)), reset=first)
    assert_close(block(INPUTS), as_array(block.output_projection(gate * recurrent)))
    without_start = block.rg_lru(block.conv(block.input_projection(INPUTS)))
    difference = as_array(block(INPUTS)) - as_array(block.output_projection(gate * without_start))
    assert np.abs(difference[:, 0]).max() > 1e-2


def test_the_first_real_step_starts_the_stream_wherever_padding_stands():
    block = RecurrentBlock(16)
    block.build((None, None, 12))
    mask = np.array([[False, False, True, True, True, True], [True] * 6])
    outputs, state = block.advance(INPUTS, block.initial_state(2), mask=mask)
    assert_close(outputs[:1, 2:], as_array(block(INPUTS[:1, 2:])))
    assert as_array(state.started).all()
    _, state = block.advance(INPUTS, block.initial_state(2), mask=np.zeros((2, 6), bool))
    assert not as_array(state.started).any()
