from typing import NamedTuple

import keras
import numpy as np

from keras_griffin.layers.base.declared import Declared, StateSpec
from keras_griffin.testing.arrays import as_array


class MaximumState(NamedTuple):
    largest: np.ndarray
    seen: np.ndarray


class Maximum(Declared):
    state_type = MaximumState

    @classmethod
    def weights_of(cls, width):
        return {}

    @classmethod
    def state_of(cls, width, tokens):
        return {"largest": StateSpec((width,), "float32", start=-1e30), "seen": StateSpec((2, width))}


def test_a_state_starts_as_declared():
    layer = Maximum(dtype="mixed_bfloat16")
    layer.build((None, None, 3))
    for state in (layer.initial_state(2), layer.initial_arrays(2)):
        assert isinstance(state, MaximumState)
        assert [keras.backend.standardize_dtype(part.dtype) for part in state] == ["float32", "bfloat16"]
        np.testing.assert_array_equal(as_array(state.largest), np.full((2, 3), np.float32(-1e30)))
        np.testing.assert_array_equal(as_array(state.seen), np.zeros((2, 2, 3)))
