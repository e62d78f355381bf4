"""The contract of `log_scan`: what it takes, what it means, and what it says when it can't."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_scan, log_scan
from keras_griffin.ops.log_scan import SCAN
from keras_griffin.ops.log_scan.log_numbers import NOTHING
from keras_griffin.ops.log_scan.reference import log_scan_gradient
from keras_griffin.ops.shared.time_axis import time_along
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

B, T, D = 2, 6, 3
GENERATOR = np.random.default_rng(0)
DECAY, INPUTS = -GENERATOR.random((B, T, D)).astype("float32"), GENERATOR.normal(size=(B, T, D)).astype("float32")
START = GENERATOR.normal(size=(B, D)).astype("float32")


def dtype_of(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


def flags(*true_steps):
    flag = np.zeros((B, T), bool)
    flag[:, list(true_steps)] = True
    return flag


def test_it_is_a_linear_scan_of_exponentials():
    for results in zip(log_scan(DECAY, INPUTS, START), linear_scan(*map(np.exp, (DECAY, INPUTS, START))), strict=True):
        logarithm, number = map(as_array, results)
        assert_close(logarithm, np.log(number))


def test_no_initial_state_is_nothing():
    nothing = np.full_like(START, NOTHING)
    for actual, expected in zip(log_scan(DECAY, INPUTS), log_scan(DECAY, INPUTS, nothing), strict=True):
        assert np.array_equal(as_array(actual), as_array(expected))
    assert np.array_equal(as_array(log_scan(DECAY, INPUTS)[0])[:, 0], INPUTS[:, 0])


def test_variables_are_tensors_too():
    states, _ = log_scan(keras.Variable(DECAY), keras.Variable(INPUTS), keras.Variable(START))
    assert_close(states, as_array(log_scan(DECAY, INPUTS, START)[0]))


def test_nothing_before_a_reset_is_remembered():
    decay, inputs = DECAY.copy(), INPUTS.copy()
    decay[:, :4], inputs[:, :3] = np.nan, np.nan
    states, _ = log_scan(decay, inputs, START, reset=flags(3))
    fresh, _ = log_scan(DECAY[:, 3:], INPUTS[:, 3:])
    assert_close(states[:, 3:], as_array(fresh))


def test_a_masked_step_leaves_the_state_as_it_was_and_outputs_it():
    masked, real = [0, 2, 5], [1, 3, 4]
    decay, inputs = DECAY.copy(), INPUTS.copy()
    decay[:, masked], inputs[:, masked] = np.nan, np.nan
    states, final_state = log_scan(decay, inputs, START, mask=~flags(*masked), reset=flags(2))
    expected, expected_final = log_scan(DECAY[:, real], INPUTS[:, real], START)
    assert_close(ops.take(states, real, axis=1), as_array(expected))
    assert_close(final_state, as_array(expected_final))
    states = as_array(states)
    assert np.array_equal(states[:, 0], START) and np.array_equal(states[:, [2, 5]], states[:, [1, 4]])


@pytest.mark.parametrize("start", [START, None])
def test_no_steps(start):
    states, final_state = log_scan(DECAY[:, :0], INPUTS[:, :0], start, reset=flags()[:, :0], mask=flags()[:, :0])
    assert tuple(states.shape) == (B, 0, D)
    assert np.array_equal(as_array(final_state), START if start is not None else np.full_like(START, NOTHING))


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


@pytest.mark.parametrize("length", [0, 1, T])
def test_states_have_the_dtype_of_inputs_and_the_final_state_that_of_accumulation(length):
    decay, inputs = ops.convert_to_tensor(DECAY[:, :length]), ops.cast(INPUTS[:, :length], "bfloat16")
    states, final_state = log_scan(decay, inputs, START)
    assert (dtype_of(states), dtype_of(final_state)) == ("bfloat16", "float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_unknown_sizes_stay_unknown(dtype):
    inputs = keras.Input((None, D), dtype=dtype)
    start, mark = keras.Input((D,)), keras.Input((None,), dtype="bool")
    states, final_state = log_scan(inputs, inputs, start, reset=mark, mask=mark)
    assert (states.shape, states.dtype) == ((None, None, D), dtype)
    assert (final_state.shape, final_state.dtype) == ((None, D), "float32")


def test_a_functional_model_survives_its_config():
    inputs, mark = keras.Input((None, D)), keras.Input((None,), dtype="bool")
    model = keras.Model([inputs, mark], log_scan(inputs, inputs, mask=mark))
    rebuilt = keras.Model.from_config(model.get_config())
    assert any(isinstance(operation, SCAN.node) for operation in rebuilt.operations)
    expected = log_scan(INPUTS, INPUTS, mask=~flags(2))
    for actual, wanted in zip(rebuilt([INPUTS, ~flags(2)]), expected, strict=True):
        assert_close(actual, as_array(wanted))


def test_time_divided_over_devices_is_refused():
    with time_along("time"):
        with pytest.raises(ValueError, match="^log_scan: an op must have a rule for time divided over devices"):
            log_scan(DECAY, INPUTS)


WRONG = [
    ((DECAY, INPUTS.astype("int32")), {}, "inputs must have a real floating dtype. Got int32."),
    ((DECAY.astype("int32"), INPUTS), {}, "log_decay must have a real floating dtype. Got int32."),
    ((DECAY, INPUTS, START.astype("bool")), {}, "initial_state must have a real floating dtype. Got bool."),
    ((DECAY[0], INPUTS[0]), {}, "inputs must have shape (B, T, D). Got (6, 3)."),
    (
        (DECAY[:, :5], INPUTS),
        {},
        "log_decay must have shape (2, 6, 3) for inputs (2, 6, 3). Got (2, 5, 3).",
    ),
    (
        (DECAY, INPUTS, START[:1]),
        {},
        "initial_state must have shape (2, 3) for inputs (2, 6, 3). Got (1, 3).",
    ),
    (
        (DECAY, INPUTS),
        {"reset": flags()[:, 1:]},
        "reset must be boolean, one value for each step, shape (2, 6). Got dtype bool and shape (2, 5).",
    ),
    (
        (DECAY, INPUTS),
        {"mask": flags().astype("int32")},
        "mask must be boolean, one value for each step, shape (2, 6). Got dtype int32 and shape (2, 6).",
    ),
]


@pytest.mark.parametrize(("arguments", "options", "sentence"), WRONG, ids=[sentence for *_, sentence in WRONG])
def test_a_wrong_argument_gets_one_sentence(arguments, options, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(f'log_scan: {sentence}')}$"):
        log_scan(*arguments, **options)


def test_a_wrong_symbolic_argument_gets_the_same_sentence():
    with pytest.raises(ValueError, match=re.escape("for inputs (None, None, 4). Got (None, None, 3).")):
        log_scan(keras.Input((None, 3)), keras.Input((None, 4)))
