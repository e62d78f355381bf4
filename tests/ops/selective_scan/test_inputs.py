"""Masked steps, applied before a scan."""

import numpy as np
from keras import ops

from keras_griffin.ops.recurrence.marks import Marks, marks_of_steps
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs, with_mask_applied
from keras_griffin.testing.arrays import as_array

ONES = SelectiveScanInputs(*(ops.ones(shape) for shape in ((1, 3, 2), (1, 3, 2), (2, 4), (1, 3, 4), (1, 3, 4))))
RESET, MASK = ops.convert_to_tensor([[True, False, True]]), ops.convert_to_tensor([[False, True, True]])


def test_a_masked_step_is_zero_in_every_sequence_and_no_reset():
    seen = []
    scan = with_mask_applied(lambda *arguments: seen.append(arguments) or (ONES.inputs, None))
    scan(ONES, None, marks_of_steps(RESET, MASK))
    scan(ONES, None, Marks(None, None))
    (shown, _, reset), (same, _, no_reset) = seen
    assert shown.rates is ONES.rates
    for x in shown[:2] + shown[3:]:
        assert np.array_equal(as_array(x)[..., 0], [[0.0, 1.0, 1.0]])
    assert np.array_equal(as_array(reset), [[False, False, True]])
    assert same == ONES and no_reset is None


def test_a_masked_step_outputs_zero_whatever_the_state_is():
    scan = with_mask_applied(lambda selection, state, reset: (selection.inputs * state, state))
    outputs, _ = scan(ONES, np.float32(np.nan), marks_of_steps(None, MASK))
    assert np.array_equal(as_array(outputs)[..., 0], [[0.0, np.nan, np.nan]], equal_nan=True)
