"""Every implementation of local attention against the definition, whose own gradient is put to the test first."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.implementation import Facts, find_op, use_implementation
from keras_griffin.ops.local_attention import local_attention, portable, reference
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.ops.local_attention.cases import (
    BATCH,
    CASES,
    CHANNELS,
    MARKS,
    arguments_of,
    gradients_of,
    marks_of,
    poisoned,
    unseen_of,
)


def _dense(query, key, value, window, segment_ids, mask):
    """Attention by a whole matrix of logits, another way to the definition, in float64."""
    length, span = query.shape[1], key.shape[1]
    group = query.shape[2] // key.shape[2]
    key, value = (np.repeat(x.astype("float64"), group, axis=2) for x in (key, value))
    mask = np.ones((BATCH, span), bool) if mask is None else mask
    segment_ids = np.zeros((BATCH, span), int) if segment_ids is None else segment_ids
    place = np.cumsum(mask, axis=1)
    distance = place[:, span - length :, None] - place[:, None, :]
    order = np.arange(span - length, span)[:, None] >= np.arange(span)
    visible = order & (distance < window) & mask[:, None, :] & mask[:, span - length :, None]
    visible &= segment_ids[:, span - length :, None] == segment_ids[:, None, :]
    logits = np.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(CHANNELS)
    weights = np.where(visible[:, None], np.exp(logits), 0)
    weights = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-300)
    return np.einsum("bnts,bsnh->btnh", weights, value)


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("case", CASES)
def test_the_definition_is_dense_attention(case, marks):
    arguments, window, marks = arguments_of(case)[0], CASES[case][2], marks_of(marks, case)
    actual = reference.local_attention(*arguments, window, **marks)
    np.testing.assert_allclose(actual, _dense(*arguments, window, **marks), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("marks", MARKS)
def test_the_gradient_in_closed_form_is_that_of_differences(marks):
    (arguments, weights), marks = arguments_of("one block"), marks_of(marks, "one block")
    gradients = reference.local_attention_gradient(weights, *arguments, 3, **marks)
    for place, gradient in enumerate(gradients):
        direction = np.random.default_rng(place).normal(size=gradient.shape)

        def loss(step, place=place, direction=direction):
            moved = [x + step * direction if i == place else x for i, x in enumerate(arguments)]
            return np.sum(weights * reference.local_attention(*moved, 3, **marks))

        difference = (loss(1e-5) - loss(-1e-5)) / 2e-5
        assert difference == pytest.approx(np.sum(gradient * direction), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize(
    ("case", "marks"), [*((case, marks) for case in CASES for marks in ("neither", "both")), ("blocks", "mask")]
)
def test_portable_values(case, marks):
    arguments, window, marks = arguments_of(case)[0], CASES[case][2], marks_of(marks, case)
    with use_implementation("local_attention", "portable"):
        actual = local_attention(*arguments, window, **marks)
    assert_close(actual, reference.local_attention(*arguments, window, **marks))


def test_portable_values_in_half_precision():
    arguments, window, marks = arguments_of("blocks", "bfloat16")[0], CASES["blocks"][2], marks_of("both", "blocks")
    actual = local_attention(*(ops.cast(x, "bfloat16") for x in arguments), window, **marks)
    assert keras.backend.standardize_dtype(actual.dtype) == "bfloat16"
    assert_close(actual, reference.local_attention(*arguments, window, **marks))


@pytest.mark.trainable
@pytest.mark.parametrize(
    ("case", "marks", "dtype"),
    [
        *((case, "both", "float32") for case in CASES),
        ("blocks", "neither", "float32"),
        ("blocks", "mask", "float32"),
        ("one block", "neither", "float32"),
        ("blocks", "both", "bfloat16"),
    ],
)
def test_portable_gradients(case, marks, dtype):
    (arguments, weights), window, marks = arguments_of(case, dtype), CASES[case][2], marks_of(marks, case)
    actual = gradients_of(arguments, weights, window, marks, dtype)
    expected = reference.local_attention_gradient(weights, *arguments, window, **marks)
    for one, other in zip(actual, expected, strict=True):
        assert_close(one, other, dtype)


@pytest.mark.parametrize("case", ["one block", "blocks", "blocks after history"])
def test_what_is_not_seen_may_be_nan(case):
    arguments, window, marks = arguments_of(case)[0], CASES[case][2], marks_of("both", case)
    expected = reference.local_attention(*arguments, window, **marks)
    assert_close(local_attention(*poisoned(arguments, ~marks["mask"]), window, **marks), expected)
    unseen = unseen_of(case, marks["mask"])
    actual = as_array(local_attention(*poisoned(arguments, unseen), window, **marks))
    later = (unseen & marks["mask"])[:, -arguments[0].shape[1] :]
    assert_close(np.where(later[..., None, None], 0, actual), np.where(later[..., None, None], 0, expected), "float32")
    assert later.any() and np.isnan(actual[later]).all()


@pytest.mark.trainable
@pytest.mark.parametrize("case", ["one block", "blocks", "blocks after history"])
def test_gradients_do_not_see_what_values_do_not_see(case):
    (arguments, weights), window, marks = arguments_of(case), CASES[case][2], marks_of("both", case)
    unseen = unseen_of(case, marks["mask"])
    weights = np.where(unseen[:, -weights.shape[1] :, None, None], 0, weights).astype("float32")
    actual = gradients_of(poisoned(arguments, unseen), weights, window, marks)
    expected = reference.local_attention_gradient(weights, *arguments, window, **marks)
    for one, other in zip(actual, expected, strict=True):
        assert_close(one, other, "float32")


@pytest.mark.parametrize("case", ["one block", "blocks"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_query_that_sees_what_is_not_finite_is_lost(case, bad, place):
    arguments, (length, _, window, _) = arguments_of(case)[0], CASES[case]
    arguments[place][:, 2] = bad
    lost = np.arange(length) == 2 if place == 0 else (np.arange(length) >= 2) & (np.arange(length) < 2 + window)
    actual = as_array(local_attention(*arguments, window))
    np.testing.assert_array_equal(np.isnan(actual), np.broadcast_to(lost[:, None, None], actual.shape))


def test_large_logits_do_no_harm():
    (query, key, value), window = arguments_of("blocks")[0], 7
    key = np.repeat(key[:, :1], 65, axis=1)
    expected = reference.local_attention(0 * query, key, value, window)
    assert_close(local_attention(1e6 * query, key, value, window), expected)


@pytest.mark.skipif(keras.backend.backend() != "numpy", reason="the definition reads NumPy's arrays")
def test_the_reference_can_be_asked_for():
    arguments, marks = arguments_of("one block")[0], marks_of("both", "one block")
    with use_implementation("local_attention", "reference"):
        actual = local_attention(*arguments, 7, **marks)
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    assert_close(actual, _dense(*arguments, 7, **marks))


@pytest.mark.parametrize(
    ("device", "dtype", "served"), [("cpu", "float32", 1), ("gpu", "float32", 0), ("cpu", "bfloat16", 0)]
)
def test_what_each_serves(device, dtype, served):
    facts = Facts("numpy", device, (1, 7, 4, 4), dtype)
    assert portable.supports(facts) is None
    op = find_op("local_attention")
    assert op.rejection(op._named("reference"), facts) == (None if served else "reads float32 and float64 on the CPU")
    rows = [row.name for row in find_op("local_attention").implementations]
    assert rows == ["jax_splash_tpu", "torch_flex", "portable", "reference"]


def test_large_finite_numbers_in_half_precision_are_finite():
    """Their sum over a head's channels is not."""
    query = np.full((1, 3, 1, 256), 1e-3, "float16")
    value = np.full((1, 3, 1, 256), 300.0, "float16")
    outputs = local_attention(*(ops.convert_to_tensor(x) for x in (query, query, value)), 2)
    np.testing.assert_array_equal(as_array(outputs), 300.0)
