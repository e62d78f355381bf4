"""The loop's two halves: tokens are consumed, and tokens are decoded."""

import keras
import numpy as np
from keras import ops

from keras_griffin.generation import Greedy
from keras_griffin.generation.loop import consume, decode
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

TOKENS = np.array([[1, 2, 3], [0, 0, 4]], "int32")
MASK = np.array([[True] * 3, [False, False, True]])


def begun(model):
    """A state whose tensors may be used up."""
    return keras.tree.map_structure(ops.copy, model.initial_state(2))


def assert_same(state, expected):
    for ours, theirs in zip(keras.tree.flatten(state), keras.tree.flatten(expected), strict=True):
        assert_close(as_array(ours).astype("float32"), as_array(theirs).astype("float32"))


def test_what_is_consumed_is_as_in_advance(griffin):
    after = consume(griffin, begun(griffin), TOKENS, MASK)
    _, expected = griffin.advance(TOKENS, griffin.initial_state(2), segment_ids=MASK.astype("int32"))
    assert_same(after, expected)
    np.testing.assert_array_equal(as_array(after.tokens), [3, 1])


def test_a_row_that_has_met_a_stop_id_stays_as_it_is(griffin):
    state = consume(griffin, begun(griffin), TOKENS, None)
    everything = np.arange(griffin.config.vocabulary_size, dtype="int32")
    uniform, alive = np.zeros((4, 2), "float32"), np.array([True, False])
    token_ids, state, alive, _ = decode(griffin, Greedy(), state, alive, uniform, 3, everything)
    assert token_ids.shape == (2, 1) and token_ids[1, 0] == 0 and not as_array(alive).any()
    np.testing.assert_array_equal(as_array(state.tokens), [4, 3])
