"""The reference: its definition against worked numbers, its gradient against finite differences."""

import numpy as np
import pytest

from keras_griffin.ops.log_scan import reference
from keras_griffin.ops.log_scan.log_numbers import NOTHING

pytestmark = pytest.mark.any_backend


def test_the_definition_on_worked_numbers():
    decay, inputs = np.log([[[0.5], [0.5], [2.0]]]), np.log([[[1.0], [2.0], [3.0]]])
    states, final_state = reference.definition(decay, inputs, np.log([[4.0]]))
    np.testing.assert_allclose(np.exp(states).ravel(), [3.0, 3.5, 10.0])
    np.testing.assert_allclose(np.exp(final_state), [[10.0]])


def test_reset_and_mask_on_worked_numbers():
    decay, inputs = np.zeros((1, 4, 1)), np.log([[[1.0], [2.0], [3.0], [4.0]]])
    reset, mask = np.array([[False, True, True, False]]), np.array([[True, True, False, True]])
    states, _ = reference.definition(decay, inputs, np.log([[10.0]]), reset=reset, mask=mask)
    np.testing.assert_allclose(np.exp(states).ravel(), [11.0, 2.0, 2.0, 6.0])


def test_no_initial_state_is_nothing_and_stays_so_while_nothing_comes():
    decay, nothing = np.full((1, 3, 2), -0.5), np.full((1, 2), NOTHING)
    inputs = np.stack([np.full((1, 2), -np.inf), np.full((1, 2), NOTHING), np.ones((1, 2))], axis=1)
    states, _ = reference.definition(decay, inputs)
    np.testing.assert_array_equal(states, reference.definition(decay, inputs, nothing)[0])
    np.testing.assert_array_equal(states[0, :, 0], [NOTHING, NOTHING, 1.0])
