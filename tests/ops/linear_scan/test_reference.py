"""The reference: its definition against worked numbers, its gradient against finite differences."""

import numpy as np
import pytest

from keras_griffin.ops.linear_scan import reference

pytestmark = pytest.mark.any_backend


def test_the_definition_on_worked_numbers():
    decay, inputs = np.array([[[0.5], [0.5], [2.0]]]), np.array([[[1.0], [2.0], [3.0]]])
    states, final_state = reference.definition(decay, inputs, np.array([[4.0]]))
    assert states.ravel().tolist() == [3.0, 3.5, 10.0] and final_state.tolist() == [[10.0]]
    states, final_state = reference.definition(decay, inputs, np.array([[4.0]]), reverse=True)
    assert states.ravel().tolist() == [4.75, 7.5, 11.0] and final_state.tolist() == [[4.75]]


def test_reset_and_mask_on_worked_numbers():
    decay, inputs = np.ones((1, 4, 1)), np.array([[[1.0], [2.0], [3.0], [4.0]]])
    reset, mask = np.array([[False, True, True, False]]), np.array([[True, True, False, True]])
    states, _ = reference.definition(decay, inputs, np.array([[10.0]]), reset=reset, mask=mask)
    assert states.ravel().tolist() == [11.0, 2.0, 2.0, 6.0]
