"""The reference: its definition against a worked number, its gradient against finite differences."""

import numpy as np
import pytest

from keras_griffin.ops.rg_lru.gates import GatedScanInputs
from keras_griffin.ops.rg_lru.reference import definition

pytestmark = pytest.mark.any_backend


def test_a_worked_number():
    # Gates of 1/2, and sigmoid(Lambda) = 1/4: with c = 2, a = 1/4 and sqrt(1 - a^2) = sqrt(15) / 4.
    zeros = np.zeros((1, 2, 1))
    unit = GatedScanInputs(np.array([[[8.0], [0.0]]]), zeros, zeros, np.array([np.log(1 / 3)]), None)
    states, final_state = definition(unit, np.array([[4.0]]), 2.0)
    np.testing.assert_allclose(states.ravel(), [1 + 15**0.5, (1 + 15**0.5) / 4])
    np.testing.assert_array_equal(final_state, states[:, 1])
