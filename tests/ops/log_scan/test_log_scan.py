"""The contract of `log_scan`: what it takes, what it means, and what it says when it can't."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_scan, log_scan
from keras_griffin.ops.log_scan.log_numbers import NOTHING
from keras_griffin.ops.log_scan.reference import log_scan_gradient
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

B, T, D = 2, 6, 3
GENERATOR = np.random.default_rng(0)
DECAY, INPUTS = -GENERATOR.random((B, T, D)).astype("float32"), GENERATOR.normal(size=(B, T, D)).astype("float32")
START = GENERATOR.normal(size=(B, D)).astype("float32")


def test_it_is_a_linear_scan_of_exponentials():
    for results in zip(log_scan(DECAY, INPUTS, START), linear_scan(*map(np.exp, (DECAY, INPUTS, START))), strict=True):
        logarithm, number = map(as_array, results)
        assert_close(logarithm, np.log(number))


def test_no_initial_state_is_nothing():
    nothing = np.full_like(START, NOTHING)
    for actual, expected in zip(log_scan(DECAY, INPUTS), log_scan(DECAY, INPUTS, nothing), strict=True):
        assert np.array_equal(as_array(actual), as_array(expected))
    assert np.array_equal(as_array(log_scan(DECAY, INPUTS)[0])[:, 0], INPUTS[:, 0])
    assert np.array_equal(as_array(log_scan(DECAY[:, :0], INPUTS[:, :0])[1]), nothing)


@pytest.mark.trainable
def test_one_step():
    """Also where past and input are equal, and a reset forgets NaN."""
    decay, inputs, start = DECAY[:, :1], INPUTS[:, :1].copy(), START.copy()
    inputs[0, 0, 0], start[1, 0] = decay[0, 0, 0] + start[0, 0], np.nan
    reset, weights = np.array([[False], [True]]), INPUTS[:, 1:2]

    def loss(*tensors):
        states, final_state = log_scan(*tensors, reset=reset)
        return ops.sum(states * ops.convert_to_tensor(weights)) + ops.sum(final_state)

    _, gradients = value_and_gradient(loss, decay, inputs, start)
    expected = log_scan_gradient(decay, inputs, np.nan_to_num(start), weights, np.ones((B, D)), reset=reset)
    for got, wanted in zip(gradients, expected, strict=True):
        assert_close(got, wanted)


def test_a_wrong_argument_is_named_as_the_user_knows_it():
    with pytest.raises(ValueError, match="^log_scan: log_decay must have a real floating dtype. Got int32.$"):
        log_scan(DECAY.astype("int32"), INPUTS)
