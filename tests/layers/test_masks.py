"""The mask that inputs carry, as those of Keras's `Masking`, beside marks and a state."""

import keras
import numpy as np
import pytest

from keras_griffin.layers import LRU, RGLRU, ResidualBlock
from keras_griffin.mixers import GlobalMQA, LocalMQA, Mamba, RecurrentBlock
from keras_griffin.models import SequenceEncoder
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 7, 8
INPUTS = np.random.default_rng(0).normal(size=(B, T, D)).astype("float32")
# Zeros before, within and behind a row.
INPUTS[0, :2], INPUTS[0, 4], INPUTS[1, 5:] = 0, 0, 0
MASK = INPUTS.any(axis=-1)
RESET = np.zeros((B, T), bool)
RESET[:, 3] = True
STATE = np.random.default_rng(1).normal(size=(B, D)).astype("float32")
LAYERS = {
    "RGLRU": lambda: RGLRU(return_sequences=True),
    "LRU, the last output": LRU,
    "RecurrentBlock": lambda: RecurrentBlock(D),
    "Mamba": Mamba,
    "LocalMQA": lambda: LocalMQA(num_heads=2, window=3),
    "GlobalMQA": lambda: GlobalMQA(num_heads=2),
    "ResidualBlock": lambda: ResidualBlock(RecurrentBlock(D), 2 * D),
    "SequenceEncoder": lambda: SequenceEncoder(D, 1, pool="mean"),
}


def check(layer, **others):
    """The layer knows the mask; one that is given takes its place."""
    masked = keras.layers.Masking()(INPUTS)
    expected, unmasked = (as_array(layer(INPUTS, mask=mask, **others)) for mask in (MASK, None))
    assert np.abs(unmasked - expected).max() > 1e-5
    assert_close(layer(masked, **others), expected)
    assert_close(layer(masked, mask=np.ones_like(MASK), **others), unmasked)


@pytest.mark.parametrize("name", LAYERS)
def test_beside_a_reset(name):
    layer = LAYERS[name]()
    check(layer, reset=RESET)


def test_beside_an_initial_state():
    check(RGLRU(return_sequences=True), initial_state=STATE)
    check(RGLRU(go_backwards=True), initial_state=STATE, reset=RESET)


@pytest.mark.parametrize("name", ["RGLRU", "SequenceEncoder"])
def test_in_a_model_and_in_a_loaded_one(name, tmp_path):
    inputs, reset = keras.Input((T, D)), keras.Input((T,), dtype="bool")
    layer = LAYERS[name]()
    model = keras.Model([inputs, reset], layer(keras.layers.Masking()(inputs), reset=reset))
    expected = as_array(layer(INPUTS, mask=MASK, reset=RESET))
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        assert_close(each([INPUTS, RESET]), expected)


def test_a_decoder_behind_an_embedding_that_masks_zeros():
    """As one types it after an LSTM: the state of an encoder, and the mask of token 0."""
    tokens, state = keras.Input((4,), dtype="int32"), keras.Input((D,))
    embedding, layer = keras.layers.Embedding(10, D, mask_zero=True), RGLRU()
    model = keras.Model([tokens, state], layer(embedding(tokens), initial_state=state))
    found = as_array(model([np.array([[3, 4, 0, 0], [5, 6, 7, 8]]), STATE]))
    assert_close(found[:1], as_array(layer(embedding(np.array([[3, 4]])), initial_state=STATE[:1])))
