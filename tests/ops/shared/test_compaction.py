import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.shared.compaction import at_latest, on_real_steps, real_steps_first, real_steps_last, take_steps
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

GENERATOR = np.random.default_rng(0)
LENGTH = 65
MASK = GENERATOR.random((5, LENGTH)) < 0.6
MASK[0], MASK[1], MASK[2, :9], MASK[3, -9:] = True, False, False, False
X = GENERATOR.normal(size=(5, LENGTH, 2, 3)).astype("float32")


def _moved(x, first):
    """The definition, row by row."""
    steps = [np.concatenate([np.flatnonzero(row == first), np.flatnonzero(row != first)]) for row in MASK]
    return np.stack([row[order] for row, order in zip(x, steps, strict=True)])


@pytest.mark.parametrize(("permutation", "first"), [(real_steps_first, True), (real_steps_last, False)])
def test_each_kind_keeps_its_own_order(permutation, first):
    sources, places = permutation(ops.convert_to_tensor(MASK))
    for indices in (sources, places):
        assert keras.backend.standardize_dtype(indices.dtype) == "int32"
    moved = take_steps(ops.convert_to_tensor(X), sources)
    np.testing.assert_array_equal(as_array(moved), _moved(X, first))
    np.testing.assert_array_equal(as_array(take_steps(moved, places)), X)


@pytest.mark.parametrize("dtype", ["bool", "int32", "bfloat16"])
def test_flags_and_any_dtype_can_be_moved(dtype):
    sources, _ = real_steps_first(ops.convert_to_tensor(MASK))
    x = ops.cast(MASK, dtype)
    moved = take_steps(x, sources)
    assert keras.backend.standardize_dtype(moved.dtype) == dtype
    np.testing.assert_array_equal(as_array(moved), _moved(as_array(x), True))


@pytest.mark.trainable
def test_the_gradient_goes_back_to_where_a_step_came_from():
    weights = np.random.default_rng(1).normal(size=X.shape).astype("float32")

    def loss(x):
        sources, _ = real_steps_first(ops.convert_to_tensor(MASK))
        return ops.sum(take_steps(x, sources) * ops.convert_to_tensor(weights))

    _, [gradient] = value_and_gradient(loss, X)
    assert_close(_moved(gradient, True), weights, "float32")


def test_a_function_of_real_steps():
    """Counting steps: a masked one has no number, and none is counted or read."""
    seen = []

    def count(x, reset, real):
        seen.append((x, reset, real))
        return ops.cumsum(ops.ones_like(x), axis=1), real

    x, reset = np.where(MASK[..., None], X[:, :, 0], np.nan), np.ones_like(MASK)
    outputs, last = on_real_steps(count, *map(ops.convert_to_tensor, (x, reset, MASK)))
    np.testing.assert_array_equal(as_array(outputs)[..., 0], np.where(MASK, np.cumsum(MASK, axis=1), 0))
    np.testing.assert_array_equal(as_array(last)[:, 0], MASK.sum(1))
    (given, resets, _), *_ = seen
    assert np.isfinite(as_array(given)).all()
    np.testing.assert_array_equal(as_array(resets), _moved(MASK, True))
    assert on_real_steps(count, x, None, None)[1] is None and seen[1][0] is x


def test_the_value_of_the_latest_true_step():
    values = GENERATOR.integers(1, 1000, MASK.shape).astype("int32")
    expected = [
        [next((row[s] for s in range(t, -1, -1) if mask[s]), 0) for t in range(LENGTH)]
        for row, mask in zip(values, MASK, strict=True)
    ]
    np.testing.assert_array_equal(
        as_array(at_latest(ops.convert_to_tensor(MASK), ops.convert_to_tensor(values))), expected
    )
