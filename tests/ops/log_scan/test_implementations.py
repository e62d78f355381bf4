"""What every implementation must do beside the calls of `tests/ops/test_rows.py`."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import log_scan, use_implementation
from keras_griffin.ops.log_scan.cases import LogCase
from keras_griffin.ops.log_scan.log_numbers import NOTHING
from keras_griffin.ops.log_scan.reference import definition, log_scan_gradient
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient
from tests.ops.rows import runnable

IMPLEMENTATIONS = runnable("log_scan")
#: A shape of the cases of `test_rows.py`, for which JAX has compiled.
CASE = LogCase(65, 3)


def arrays_of(case):
    return [argument.values.astype("float32") for argument in case.arguments()]


def states_of(implementation, *arrays, **marks):
    with use_implementation("log_scan", implementation):
        return as_array(log_scan(*map(ops.convert_to_tensor, arrays), **marks)[0])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_largest_of_keys_far_apart_is_the_state(implementation):
    """So are keys of 1e4, whose exponentials no dtype holds, and the infinite ones that add nothing."""
    decay, inputs, start = arrays_of(CASE)
    inputs = np.round(inputs * 1e2).astype("float32") * 100.0 + 50.0 * np.arange(2)[[0, 1, 0, 1, 0]]
    inputs[0, :2], start[:] = -np.inf, NOTHING
    inputs = inputs.astype("float32")
    states = states_of(implementation, 0 * decay, inputs, start)
    assert_close(states, definition(0 * decay, inputs, start)[0], "float32")
    largest = np.maximum.accumulate(np.maximum(inputs, np.float32(NOTHING)), axis=1)
    # The same key may come twice, and adds the logarithm of 2.
    assert np.all((states >= largest) & (states <= largest + 5.0))


@pytest.mark.trainable
@pytest.mark.parametrize("implementation", [name for name in IMPLEMENTATIONS if name != "reference"])
def test_a_masked_row_passes_its_gradient_to_its_start(implementation):
    """Also where that is nothing, to which equal numbers would add as much as it has."""
    decay, inputs, start = arrays_of(CASE)
    start[0] = NOTHING
    mask = np.ones(inputs.shape[:2], bool)
    mask[:2] = False
    weights = np.random.default_rng(0).normal(size=start.shape).astype("float32")

    def loss(decay, inputs, start):
        with use_implementation("log_scan", implementation):
            return ops.sum(log_scan(decay, inputs, start, mask=mask)[1] * ops.convert_to_tensor(weights))

    _, gradients = value_and_gradient(loss, decay, inputs, start)
    expected = log_scan_gradient(decay, inputs, start, 0 * inputs, weights, mask=mask)
    for got, wanted in zip(gradients, expected, strict=True):
        assert_close(got, wanted)
    assert_close(gradients[2][:2], weights[:2])
