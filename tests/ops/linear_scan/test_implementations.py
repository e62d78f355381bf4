"""What every implementation must do beside the calls of `tests/ops/test_rows.py`."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_scan, use_implementation
from keras_griffin.ops.linear_scan.cases import ScanCase
from keras_griffin.ops.linear_scan.reference import definition
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.ops.rows import runnable

IMPLEMENTATIONS = runnable("linear_scan")


def arrays_of(case):
    return [argument.values.astype("float32") for argument in case.arguments()]


def states_of(implementation, *arrays, reverse=False):
    with use_implementation("linear_scan", implementation):
        return linear_scan(*map(ops.convert_to_tensor, arrays), reverse=reverse)[0]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("reverse", [False, True])
def test_states_do_not_depend_on_later_steps(implementation, reverse):
    decay, inputs, start = arrays_of(ScanCase(130, 3))
    expected, _ = definition(decay, inputs, start, reverse=reverse)
    later, earlier = (slice(None, 70), slice(70, None)) if reverse else (slice(70, None), slice(None, 70))
    decay[:, later] = inputs[:, later] = np.nan
    states = states_of(implementation, decay, inputs, start, reverse=reverse)
    assert_close(as_array(states)[:, earlier], expected[:, earlier], "float32")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_decay_of_zero_forgets_and_a_decay_of_one_keeps_everything(implementation):
    decay, inputs, start = arrays_of(ScanCase(130))
    assert np.array_equal(as_array(states_of(implementation, np.zeros_like(decay), inputs, start)), inputs)
    states = states_of(implementation, np.ones_like(decay), inputs, start)
    assert_close(states, start[:, None] + np.cumsum(inputs, axis=1, dtype="float64"))
