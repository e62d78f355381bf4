"""The contract of `linear_scan`: what it takes, what it means, and what it says when it can't."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_scan
from keras_griffin.ops.linear_scan import SCAN
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

B, T, D = 2, 6, 3


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def uniform(*shape):
    return np.random.default_rng(4).uniform(0.5, 0.9, shape).astype("float32")


def dtype_of(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


DECAY, INPUTS, START = uniform(B, T, D), normal(B, T, D), normal(B, D, seed=1)


def flags(*true_steps):
    flag = np.zeros((B, T), bool)
    flag[:, list(true_steps)] = True
    return flag


def test_numpy_arrays_give_tensors_of_the_backend():
    states, final_state = linear_scan(DECAY, INPUTS, START)
    assert keras.ops.is_tensor(states) and keras.ops.is_tensor(final_state)
    assert_close(final_state, as_array(states)[:, -1])
    first = DECAY[:, 0] * START + INPUTS[:, 0]
    assert_close(states[:, 0], first)
    assert_close(states[:, 1], DECAY[:, 1] * first + INPUTS[:, 1])


def test_a_complex_recurrence_of_reals_is_two_real_ones():
    zeros = np.zeros_like(DECAY)
    (real, imaginary), final_state = linear_scan((DECAY, zeros), (INPUTS, 2 * INPUTS), (START, 2 * START))
    expected, _ = linear_scan(DECAY, INPUTS, START)
    assert_close(real, as_array(expected))
    assert_close(imaginary, 2 * as_array(expected))
    assert isinstance(final_state, tuple) and len(final_state) == 2


def test_reverse_is_the_flipped_sequence():
    marks = {"reset": flags(1, 4), "mask": ~flags(2)}
    flipped = {name: mark[:, ::-1] for name, mark in marks.items()}
    states, final_state = linear_scan(DECAY, INPUTS, START, **marks, reverse=True)
    expected, expected_final = linear_scan(DECAY[:, ::-1].copy(), INPUTS[:, ::-1].copy(), START, **flipped)
    assert_close(states, as_array(expected)[:, ::-1])
    assert_close(final_state, as_array(expected_final))


def test_nothing_before_a_reset_is_remembered():
    states, _ = linear_scan(DECAY, INPUTS, START, reset=flags(0, 3))
    assert_close(states[:, 0], INPUTS[:, 0])
    fresh, _ = linear_scan(DECAY[:, 3:], INPUTS[:, 3:])
    assert_close(states[:, 3:], as_array(fresh))


def test_a_masked_step_leaves_the_state_as_it_was_and_outputs_it():
    masked = [0, 2, 5]
    real = [1, 3, 4]
    decay, inputs = DECAY.copy(), INPUTS.copy()
    decay[:, masked], inputs[:, masked] = np.nan, np.nan
    states, final_state = linear_scan(decay, inputs, START, mask=~flags(*masked), reset=flags(2))
    expected, expected_final = linear_scan(DECAY[:, real], INPUTS[:, real], START)
    assert_close(ops.take(states, real, axis=1), as_array(expected))
    assert_close(final_state, as_array(expected_final))
    states = as_array(states)
    assert_close(states[:, 0], START)
    assert_close(states[:, [2, 5]], states[:, [1, 4]])


@pytest.mark.trainable
def test_masked_steps_have_no_gradient_whatever_they_hold():
    decay, inputs = DECAY.copy(), INPUTS.copy()
    decay[:, 2], inputs[:, 2] = np.nan, np.nan

    def loss(decay, inputs):
        states, final_state = linear_scan(decay, inputs, START, mask=~flags(2))
        return ops.sum(states) + ops.sum(final_state)

    _, gradients = value_and_gradient(loss, decay, inputs)
    for gradient in gradients:
        assert np.all(np.isfinite(gradient)) and np.all(gradient[:, 2] == 0.0) and np.all(gradient[:, 1] != 0.0)


@pytest.mark.parametrize("start", [START, None])
def test_no_steps(start):
    states, final_state = linear_scan(DECAY[:, :0], INPUTS[:, :0], start, reset=flags()[:, :0], mask=flags()[:, :0])
    assert tuple(states.shape) == (B, 0, D)
    assert_close(final_state, START if start is not None else np.zeros((B, D)))


@pytest.mark.parametrize("length", [0, 1, T])
def test_states_have_the_dtype_of_inputs_and_the_final_state_that_of_accumulation(length):
    decay, inputs = ops.convert_to_tensor(DECAY[:, :length]), ops.cast(INPUTS[:, :length], "bfloat16")
    states, final_state = linear_scan(decay, inputs, START)
    assert (dtype_of(states), dtype_of(final_state)) == ("bfloat16", "float32")


def test_sums_are_made_in_float32():
    """In bfloat16 the sum of ones stops at 256."""
    ones = ops.ones((1, 400, 1), "bfloat16")
    assert_close(linear_scan(ones, ones)[1], [[400.0]])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_unknown_sizes_stay_unknown(dtype):
    inputs = keras.Input((None, D), dtype=dtype)
    start, mark = keras.Input((D,)), keras.Input((None,), dtype="bool")
    states, final_state = linear_scan(inputs, inputs, start, reset=mark, mask=mark)
    assert (states.shape, states.dtype) == ((None, None, D), dtype)
    assert (final_state.shape, final_state.dtype) == ((None, D), "float32")
    states, final_state = linear_scan((inputs, inputs), (inputs, inputs))
    assert [x.shape for x in (*states, *final_state)] == [(None, None, D)] * 2 + [(None, D)] * 2


def test_a_functional_model_survives_its_config():
    inputs, start = keras.Input((None, D)), keras.Input((D,))
    mark = keras.Input((None,), dtype="bool")
    states, final_state = linear_scan(inputs, inputs, start, mask=mark, reverse=True)
    model = keras.Model([inputs, start, mark], [states, final_state])
    rebuilt = keras.Model.from_config(model.get_config())
    assert any(isinstance(operation, SCAN.node) and operation.options["reverse"] for operation in rebuilt.operations)
    values = [INPUTS, START, ~flags(2)]
    for actual, expected in zip(
        rebuilt(values), linear_scan(INPUTS, INPUTS, START, mask=~flags(2), reverse=True), strict=True
    ):
        assert_close(actual, as_array(expected))


@pytest.mark.trainable
def test_a_model_of_any_length_learns():
    """Batches of two lengths, so that no graph knows T."""
    inputs = keras.Input((None, D))
    states, _ = linear_scan(keras.layers.Dense(D, "sigmoid")(inputs), inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(states))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    batches = [(normal(4, length, D), normal(4, length, D)[:, :, :1]) for length in (5, 7)]

    def loss():
        return [float(np.mean((as_array(model(x)) - y) ** 2)) for x, y in batches]

    before = loss()
    model.fit((batches[i % 2] for i in range(40)), steps_per_epoch=40, shuffle=False, verbose=0)
    assert all(late < early for late, early in zip(loss(), before, strict=True))


PAIR = (DECAY, DECAY)
WRONG = [
    (
        (PAIR, INPUTS),
        {},
        "decay, inputs and initial_state must be all tensors or all pairs (real, imaginary). "
        "Got decay of 2, inputs of 1.",
    ),
    (
        (PAIR, PAIR, START),
        {},
        "decay, inputs and initial_state must be all tensors or all pairs (real, imaginary). "
        "Got decay of 2, inputs of 2, initial_state of 1.",
    ),
    (
        ((DECAY,) * 3, (DECAY,) * 3),
        {},
        "decay, inputs and initial_state must be all tensors or all pairs (real, imaginary). "
        "Got decay of 3, inputs of 3.",
    ),
    (
        (DECAY, INPUTS.astype("int32")),
        {},
        "inputs must have a real floating dtype. Got int32.",
    ),
    (
        ((DECAY, DECAY.astype("int32")), PAIR),
        {},
        "decay must have a real floating dtype. Got int32.",
    ),
    (
        (DECAY, INPUTS, START.astype("bool")),
        {},
        "initial_state must have a real floating dtype. Got bool.",
    ),
    ((DECAY[0], INPUTS[0]), {}, "inputs must have shape (B, T, D). Got (6, 3)."),
    (
        (DECAY[:, :5], INPUTS),
        {},
        "decay must have shape (2, 6, 3) for inputs (2, 6, 3). Got (2, 5, 3).",
    ),
    (
        (PAIR, (INPUTS, INPUTS[:, :, :1])),
        {},
        "inputs must have shape (2, 6, 3) for inputs (2, 6, 3). Got (2, 6, 1).",
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
    with pytest.raises(ValueError, match=f"^{re.escape(f'linear_scan: {sentence}')}$"):
        linear_scan(*arguments, **options)


def test_a_wrong_symbolic_argument_gets_the_same_sentence():
    with pytest.raises(ValueError, match=re.escape("for inputs (None, None, 4). Got (None, None, 3).")):
        linear_scan(keras.Input((None, 3)), keras.Input((None, 4)))
