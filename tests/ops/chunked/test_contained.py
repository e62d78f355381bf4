"""A scan whose products mix all steps, kept from spoiling what must not be: beside tests/ops/test_unseen_steps.py."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.chunked.contained import contained
from keras_griffin.ops.recurrence.marks import marks_of_steps
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.gradients import value_and_gradient

T = 5


@contained
def sums(x, initial_state, reset):
    """Sums over the steps of a document, as a product of all steps: NaN times zero is NaN."""
    document = ops.cumsum(ops.cast(np.zeros((1, T), bool) if reset is None else reset, "int32"), axis=1)
    seen = ops.logical_and(ops.expand_dims(document, 1) == ops.expand_dims(document, 2), np.tri(T, dtype=bool))
    outputs = ops.cast(seen, x.dtype) @ x + ops.cast(document == 0, x.dtype)[..., None] * initial_state[:, None]
    return outputs, outputs[:, -1]


X = np.array([[[1.0], [np.nan], [4.0], [8.0], [16.0]]], "float32")
RESET, MASK = np.array([[False, False, True, True, False]]), np.array([[True, True, True, False, True]])


def call(x, start, reset=RESET, mask=None):
    marks = marks_of_steps(*(None if mark is None else ops.convert_to_tensor(mark) for mark in (reset, mask)))
    return sums(ops.convert_to_tensor(x), ops.convert_to_tensor(start), marks)


@pytest.mark.parametrize(
    ("reset", "mask", "expected"),
    [
        (RESET, None, [1, np.nan, 4, 8, 24]),
        (RESET, MASK, [1, np.nan, 4, 0, 20]),
        (None, None, [1, np.nan, np.nan, np.nan, np.nan]),
        (None, np.array([[True, False, True, True, True]]), [1, 0, 5, 13, 29]),
    ],
)
def test_values(reset, mask, expected):
    outputs, last = call(X, np.zeros((1, 1), "float32"), reset, mask)
    np.testing.assert_array_equal(as_array(outputs)[0, :, 0], expected)
    np.testing.assert_array_equal(as_array(last)[0], expected[-1:])


def test_a_start_that_is_not_finite_ends_at_a_reset():
    outputs, last = call(np.nan_to_num(X), np.full((1, 1), np.inf, "float32"))
    np.testing.assert_array_equal(as_array(outputs)[0, :, 0], [np.nan, np.nan, 4, 8, 24])
    assert np.isfinite(as_array(last)).all()


@pytest.mark.trainable
@pytest.mark.parametrize(
    ("spoiled", "into_x", "into_start"),
    [
        (0, [np.nan, 1, 1, 2, 1], np.nan),
        (1, [np.nan, np.nan, 1, 2, 1], np.nan),
        (2, [2, 1, np.nan, 2, 1], 2),
        (4, [2, 1, 1, np.nan, np.nan], 2),
    ],
)
def test_gradients(spoiled, into_x, into_start):
    weights = np.ones((1, T, 1), "float32")
    weights[0, spoiled] = np.nan
    loss = lambda x, start: ops.sum(call(x, start)[0] * ops.convert_to_tensor(weights))  # noqa: E731
    _, (of_x, of_start) = value_and_gradient(loss, np.nan_to_num(X), np.zeros((1, 1), "float32"))
    np.testing.assert_array_equal(of_x[0, :, 0], into_x)
    np.testing.assert_array_equal(of_start[0], [into_start])
