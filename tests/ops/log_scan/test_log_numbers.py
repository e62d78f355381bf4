"""Arithmetic on logarithms, and what marks make of decay and inputs."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.log_scan.log_numbers import LOG, NOTHING, apply_marks, log_odds
from keras_griffin.ops.recurrence.marks import marks_of_steps
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

INFINITY = float("inf")
FIRST = np.array([0.0, 1.0, 3e4, -1e38, NOTHING, NOTHING, -INFINITY, -INFINITY, 1e-9], "float32")
SECOND = np.array([0.0, 2.0, -3e4, 1e38, 5.0, NOTHING, 5.0, -INFINITY, -20.0], "float32")


def test_the_logarithm_of_a_sum():
    expected = np.logaddexp(FIRST.astype("float64"), SECOND.astype("float64"))
    (sums,) = LOG.plus(*((ops.convert_to_tensor(x),) for x in (FIRST, SECOND)))
    np.testing.assert_allclose(as_array(sums), expected, rtol=2e-7)
    np.testing.assert_array_equal(as_array(LOG.times((FIRST[:3],), (SECOND[:3],))[0]), FIRST[:3] + SECOND[:3])


@pytest.mark.trainable
def test_its_derivatives_are_shares_also_where_both_are_equal_or_one_is_infinite():
    first, second = FIRST[:-2], SECOND[:-2]
    _, gradients = value_and_gradient(lambda x, y: ops.sum(ops.minimum(LOG.plus((x,), (y,))[0], 1e37)), first, second)
    shares = np.array([0.5, 1 / (1 + np.e), 1.0, 0.0, 0.0, 0.5, 0.0])
    assert_close(gradients[0], shares)
    # One is cut off by the minimum.
    assert_close(gradients[1], np.where(second > 1e37, 0.0, 1.0 - shares))


def test_marks_apply_to_whatever_is_there():
    steps = np.array([[[0.5], [np.nan], [np.nan], [np.nan]]], "float32")
    reset, mask = np.array([[False, True, False, True]]), np.array([[True, True, False, False]])
    decay, inputs = apply_marks(steps, np.nan_to_num(steps, nan=3.0), marks_of_steps(reset, mask), "float32")
    np.testing.assert_array_equal(as_array(decay).ravel(), [0.5, -np.inf, 0.0, 0.0])
    np.testing.assert_array_equal(as_array(inputs).ravel(), [0.5, 3.0, -np.inf, -np.inf])


def test_odds_of_every_step():
    decay, inputs, states = (
        np.float32(x).reshape(1, 4, 1)
        for x in ([-1.0, -2.0, -np.inf, -np.inf], [2.0, 2.0, 0.0, -np.inf], [5.0, 7.0, 1.0, 1.0])
    )
    forgotten, start = np.arange(4).reshape(1, 4, 1) == 0, np.array([[np.nan]], "float32")
    arrays = [ops.convert_to_tensor(x) for x in (decay, inputs, states, start, forgotten)]
    np.testing.assert_array_equal(as_array(log_odds(*arrays)).ravel(), [-np.inf, 1.0, -np.inf, np.inf])
    np.testing.assert_array_equal(as_array(log_odds(*arrays[:4], None)).ravel()[:2], [np.nan, 1.0])
