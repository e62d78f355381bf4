"""How much each token moves a prediction, by the gradient and by differences."""

import functools

import keras
import numpy as np
import pytest

from keras_griffin.inspection import influence
from keras_griffin.models import Griffin, GriffinConfig, MQATransformer
from keras_griffin.testing.arrays import as_array

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=3, num_heads=2, window=4, num_gate_blocks=2)
TOKENS = np.random.default_rng(0).integers(256, size=12)


@functools.cache
def model():
    return Griffin(CONFIG)


@pytest.mark.any_backend
@pytest.mark.trainable
def test_it_is_the_slope_of_the_logit():
    found = influence(model(), TOKENS, token=7)
    assert found.shape == (12,) and found.dtype == "float32" and np.all(found > 0)
    embedded = as_array(model().token_embedding(TOKENS[None]))

    # A row for each channel of each of two tokens, moved there, and one for each that is moved back.
    steps = (2, 11)
    moves = np.zeros((2, CONFIG.width, 12, CONFIG.width), "float32")
    for place, step in enumerate(steps):
        moves[place, :, step] = 0.02 * np.eye(CONFIG.width)
    moves = moves.reshape(-1, 12, CONFIG.width)
    x = np.concatenate([embedded + moves, embedded - moves])
    for block in model().blocks:
        x = block(x)
    there, back = np.split(as_array(model().logits(x[:, -1:]))[:, 0, 7].astype("float64"), 2)
    slopes = ((there - back) / 0.04).reshape(2, CONFIG.width)
    np.testing.assert_allclose(np.linalg.norm(slopes, axis=1), found[list(steps)], rtol=0.02)


@pytest.mark.trainable
def test_what_no_window_reaches_has_none_and_the_likeliest_token_is_asked():
    attention = Griffin(CONFIG.replace(num_layers=1, block_pattern=("local_mqa",)))
    found = influence(attention, TOKENS)
    np.testing.assert_array_equal(found[:8], 0.0)
    assert np.all(found[8:] > 0)
    likeliest = int(np.argmax(as_array(attention(TOKENS[None]))[0, -1]))
    np.testing.assert_array_equal(influence(attention, TOKENS, token=likeliest), found)


def test_a_backend_without_gradients_is_refused():
    if keras.backend.backend() == "numpy":
        with pytest.raises(ValueError, match=r"^influence: the backend must be one of .* Got numpy\.$"):
            influence(model(), TOKENS)


@pytest.mark.any_backend
@pytest.mark.parametrize("token", [-1, 256, 1.0, True])
def test_a_token_that_is_none(token):
    with pytest.raises(ValueError, match=rf"^influence: token must be an id from 0 to 255.* Got {token!r}\.$"):
        influence(MQATransformer(CONFIG.replace(num_layers=1)), TOKENS, token)
