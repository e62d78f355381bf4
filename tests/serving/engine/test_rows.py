"""Rows of states that grow and of those that do not."""

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving.engine.rows import Rows, capacity
from keras_griffin.serving.engine.steps import preparing

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("pattern", [("recurrent",), ("global_mqa",)])
def test_rows_are_joined_taken_and_given_room(pattern):
    model = Griffin(GriffinConfig(8, 8, 1, num_heads=1, block_pattern=pattern))
    rows = Rows(preparing(model), model.initial_state(1))
    states = [model.prefill([prompt]) for prompt in ([1], [2, 3, 4])]
    state = rows.with_places(rows.chosen(states, [0, 1, 1, 1], 3), 3, 2)
    assert state.num_rows == 4
    assert capacity(state) == (64 if pattern == ("global_mqa",) else 0)
    assert rows.with_places(state, 3, 2) is state
    for place, seen in ((1, 3), (3, 3), (0, 1)):
        state, alone = rows.taken(state, place, seen)
        for found, wanted in zip(*map(keras.tree.flatten, (alone, states[seen == 3])), strict=True):
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (found, wanted)))
            # No view, which would keep all rows.
            assert keras.backend.backend() != "numpy" or found.base is None or found.base.size == found.size
