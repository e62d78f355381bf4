"""The reference: its definition against a worked number. `tests/ops/test_rows.py` takes its gradient's differences."""

import numpy as np
import pytest

from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.selective_scan.reference import definition

pytestmark = pytest.mark.any_backend


def test_a_worked_number():
    # Decays of 1/2 and 1/4; the first number reads the inputs, the second does not.
    inputs, sizes = np.array([[[3.0], [0.0]]]), np.full((1, 2, 1), 2.0)
    rates, read = np.log([[0.5, 0.25]]) / 2.0, np.array([[[1.0, 0.0]] * 2])
    selection = SelectiveScanInputs(inputs, sizes, rates, read, np.array([[[1.0, 10.0]] * 2]))
    outputs, state = definition(selection, np.array([[[4.0, 16.0]]]))
    np.testing.assert_allclose(outputs.ravel(), [8.0 + 40.0, 4.0 + 10.0])
    np.testing.assert_allclose(state, [[[4.0, 1.0]]])
    outputs, state = definition(selection, np.full((1, 1, 2), np.nan), reset=np.array([[True, False]]))
    np.testing.assert_allclose(outputs.ravel(), [6.0, 3.0])
