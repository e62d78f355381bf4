"""The definition on worked numbers; its gradient is judged by `tests/ops/test_rows.py`."""

import numpy as np
import pytest

from keras_griffin.ops.linear_scan import reference

pytestmark = pytest.mark.any_backend

DECAY, INPUTS, START = np.array([[[0.5], [0.5], [2.0]]]), np.array([[[1.0], [2.0], [3.0]]]), np.array([[4.0]])


@pytest.mark.parametrize("turn", [1.0, 1.0j])
def test_a_decay_multiplies_the_state_before_it(turn):
    states, final_state = reference.definition(turn * DECAY, INPUTS + 0.0 * turn, START)
    first = 2.0 * turn + 1.0
    second = 0.5 * turn * first + 2.0
    assert states.ravel().tolist() == [first, second, 2.0 * turn * second + 3.0]
    assert final_state.ravel().tolist() == states.ravel().tolist()[-1:]


def test_reverse():
    states, final_state = reference.definition(DECAY, INPUTS, START, reverse=True)
    assert states.ravel().tolist() == [4.75, 7.5, 11.0] and final_state.tolist() == [[4.75]]


def test_reset_and_mask():
    inputs = np.array([[[1.0], [2.0], [3.0], [4.0]]])
    reset, mask = np.array([[False, True, True, False]]), np.array([[True, True, False, True]])
    states, _ = reference.definition(np.ones((1, 4, 1)), inputs, np.array([[10.0]]), reset=reset, mask=mask)
    assert states.ravel().tolist() == [11.0, 2.0, 2.0, 6.0]
