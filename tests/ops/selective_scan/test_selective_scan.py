"""The contract of `selective_scan`: what it takes, what it means, and what it says when it can't."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_scan, selective_scan
from keras_griffin.ops.selective_scan import SCAN
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

B, T, D, N = 2, 6, 3, 2
GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.normal(size=(B, T, D)).astype("float32")
SIZES = GENERATOR.uniform(0.1, 0.5, (B, T, D)).astype("float32")
RATES = -GENERATOR.uniform(0.5, 2.0, (D, N)).astype("float32")
IN, OUT = (GENERATOR.normal(size=(B, T, N)).astype("float32") for _ in range(2))
START = GENERATOR.normal(size=(B, D, N)).astype("float32")
SELECTION = (INPUTS, SIZES, RATES, IN, OUT)


def at(steps):
    return INPUTS[:, steps], SIZES[:, steps], RATES, IN[:, steps], OUT[:, steps]


def flags(*true_steps):
    flag = np.zeros((B, T), bool)
    flag[:, list(true_steps)] = True
    return flag


def test_it_is_a_scan_of_every_number_of_the_state():
    decay = np.exp(SIZES[..., None] * RATES)
    entering = (SIZES * INPUTS)[..., None] * IN[:, :, None]
    flat = (x.reshape(B, T, D * N) for x in (decay, entering))
    states, last = linear_scan(*flat, START.reshape(B, D * N))
    outputs, final_state = selective_scan(*SELECTION, START)
    assert_close(outputs, np.einsum("btdn,btn->btd", as_array(states).reshape(B, T, D, N), OUT))
    assert_close(final_state, as_array(last).reshape(B, D, N))


def test_a_step_alone_and_no_step():
    outputs, state = selective_scan(*SELECTION, START)
    carried = START
    for t in range(T):
        step, carried = selective_scan(*at(slice(t, t + 1)), carried)
        assert_close(step[:, 0], as_array(outputs)[:, t])
    assert_close(carried, as_array(state))
    outputs, state = selective_scan(*at(slice(0)), START, reset=flags()[:, :0], mask=flags()[:, :0])
    assert tuple(outputs.shape) == (B, 0, D)
    assert_close(state, START)


def test_one_step_forgets_and_hides():
    first = at(slice(1))
    spoiled = np.full_like(START, np.nan)
    mark = np.ones((B, 1), bool)
    for actual, expected in zip(selective_scan(*first, spoiled, reset=mark), selective_scan(*first), strict=True):
        assert_close(actual, as_array(expected))
    nothing = [x if x is RATES else np.full_like(x, np.nan) for x in first]
    outputs, state = selective_scan(*nothing, START, reset=mark, mask=~mark)
    assert not np.any(as_array(outputs))
    assert_close(state, START)


def test_a_masked_step_leaves_the_state_as_it_was_and_outputs_zero():
    masked, real = [0, 2, 5], [1, 3, 4]
    spoiled = [array.copy() for array in SELECTION]
    for array in spoiled:
        if array.ndim == 3:
            array[:, masked] = np.nan
    outputs, state = selective_scan(*spoiled, START, mask=~flags(*masked), reset=flags(2))
    expected, expected_state = selective_scan(*at(real), START)
    assert_close(ops.take(outputs, real, axis=1), as_array(expected))
    assert not np.any(as_array(outputs)[:, masked])
    assert_close(state, as_array(expected_state))


@pytest.mark.trainable
@pytest.mark.parametrize("length", [1, T])
def test_masked_steps_have_no_gradient_whatever_they_hold(length):
    hidden = length - 1
    arrays = [array[:, :length].copy() if array.ndim == 3 else array for array in SELECTION]
    for array in arrays:
        if array.ndim == 3:
            array[:, hidden] = np.nan

    def loss(*tensors):
        outputs, state = selective_scan(*tensors, START, mask=~flags(hidden)[:, :length])
        return ops.sum(outputs) + ops.sum(state)

    _, gradients = value_and_gradient(loss, *arrays)
    for gradient in gradients:
        assert np.all(np.isfinite(gradient))
        assert gradient.ndim == 2 or not np.any(gradient[:, hidden])


@pytest.mark.parametrize("length", [0, 1, T])
def test_outputs_have_the_dtype_of_inputs_and_the_final_state_that_of_accumulation(length):
    inputs, *others = at(slice(length))
    results = selective_scan(ops.cast(inputs, "bfloat16"), *others)
    assert [keras.backend.standardize_dtype(x.dtype) for x in results] == ["bfloat16", "float32"]


def test_sums_are_made_in_float32():
    """In bfloat16 the sum of ones stops at 256."""
    ones, weights = ops.ones((1, 400, 1), "bfloat16"), ops.ones((1, 400, 1), "bfloat16")
    assert_close(selective_scan(ones, ones, ops.zeros((1, 1)), weights, weights)[1], [[[400.0]]])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_unknown_sizes_stay_unknown(dtype):
    sequence, weights = keras.Input((None, D), dtype=dtype), keras.Input((None, N), dtype=dtype)
    outputs, state = selective_scan(sequence, sequence, RATES, weights, weights)
    assert (outputs.shape, outputs.dtype) == ((None, None, D), dtype)
    assert (state.shape, state.dtype) == ((None, D, N), "float32")


def test_a_functional_model_survives_its_config():
    symbolic = [keras.Input((None, x.shape[-1])) for x in (INPUTS, SIZES, IN, OUT)]
    start, mark = keras.Input((D, N)), keras.Input((None,), dtype="bool")
    u, s, b, c = symbolic
    model = keras.Model([*symbolic, start, mark], list(selective_scan(u, s, RATES, b, c, start, mask=mark)))
    model = keras.Model.from_config(model.get_config())
    assert any(isinstance(operation, SCAN.node) for operation in model.operations)
    expected = selective_scan(*SELECTION, START, mask=~flags(2))
    for actual, wanted in zip(model([INPUTS, SIZES, IN, OUT, START, ~flags(2)]), expected, strict=True):
        assert_close(actual, as_array(wanted))


STEPS = "mask must be boolean, one value for each step, shape (2, 6). Got dtype int32 and shape (2, 6)."
LIKE = "for inputs (2, 6, 3). Got"
RULE = f"rates must have shape (3, N), N at least 1, {LIKE}"
#: Shapes of one kind each; all are judged in `recurrence/test_scan_op.py`.
WRONG = [
    ((INPUTS[0], *SELECTION[1:]), {}, "inputs must have shape (B, T, D). Got (6, 3)."),
    ((INPUTS, SIZES, RATES[:2], IN, OUT), {}, f"{RULE} (2, 2)."),
    ((INPUTS, SIZES, RATES[:, :0], IN, OUT), {}, f"{RULE} (3, 0)."),
    ((INPUTS, SIZES[:, :5], *SELECTION[2:]), {}, f"step_sizes must have shape (2, 6, 3) {LIKE} (2, 5, 3)."),
    ((*SELECTION[:3], INPUTS, OUT), {}, f"input_weights must have shape (2, 6, 2) {LIKE} (2, 6, 3)."),
    ((*SELECTION[:4], OUT[:1]), {}, f"output_weights must have shape (2, 6, 2) {LIKE} (1, 6, 2)."),
    ((*SELECTION, START[..., 0]), {}, f"initial_state must have shape (2, 3, 2) {LIKE} (2, 3)."),
    ((INPUTS, SIZES, RATES.astype("int32"), IN, OUT), {}, "rates must have a real floating dtype. Got int32."),
    (SELECTION, {"mask": flags().astype("int32")}, STEPS),
]


@pytest.mark.parametrize(("arguments", "options", "sentence"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_argument_gets_one_sentence(arguments, options, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(f'selective_scan: {sentence}')}$"):
        selective_scan(*arguments, **options)
