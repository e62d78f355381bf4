import numpy as np

from keras_griffin.layers.token_shift import states_before, taps_of
from keras_griffin.testing.arrays import as_array

INPUTS = np.arange(1.0, 7.0, dtype="float32").reshape(1, 6, 1)
RESET = np.array([[False, False, True, False, False, False]])
MASK = np.array([[True, True, True, False, True, True]])


def values(tensor):
    return as_array(tensor).ravel().tolist()


def test_each_tap_sees_its_step():
    (two, one, now), newest = taps_of(INPUTS, np.float32([[[8], [9]]]), RESET, MASK)
    assert values(two) == [8, 9, 0, 0, 0, 3] and values(one) == [9, 1, 0, 0, 3, 5] and now is INPUTS
    assert values(newest) == [5, 6]
    (now,), newest = taps_of(INPUTS, INPUTS[:, :0], None, None)
    assert now is INPUTS and newest.shape == (1, 0, 1)


def test_states_before():
    assert values(states_before(INPUTS, np.float32([[9]]), None)) == [9, 1, 2, 3, 4, 5]
    assert values(states_before(INPUTS, np.float32([[9]]), RESET, -1.0)) == [9, 1, -1, 3, 4, 5]
