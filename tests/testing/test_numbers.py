"""What tests compare and compute numbers with."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import CUT, TOLERANCES, assert_close
from keras_griffin.testing.compiled import compiled
from keras_griffin.testing.gradients import value_and_gradient


@pytest.mark.parametrize("make", [ops.convert_to_tensor, keras.Variable, np.asarray])
def test_values_of_any_kind_become_a_numpy_array(make):
    array = as_array(make(np.array([1.5, -2.0], "float32")))
    assert type(array) is np.ndarray and array.dtype == "float32"
    np.testing.assert_array_equal(array, [1.5, -2.0])


def test_half_precision_is_widened_and_other_dtypes_stay():
    # JAX has no float64, and asking for it warns.
    others = ["int32"] if keras.backend.backend() == "jax" else ["int32", "float64"]
    for dtype, expected in [("bfloat16", "float32"), ("float16", "float32"), *zip(others, others, strict=True)]:
        assert as_array(ops.ones((2,), dtype)).dtype == expected


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_tolerance_is_relative_to_the_largest_magnitude_but_at_least_to_one(dtype, scale):
    expected = np.array([scale, 0.0])
    tolerance = TOLERANCES[dtype] * max(1.0, scale) * (CUT if dtype == "bfloat16" else 1.0)
    assert_close(expected + [0.0, 0.9 * tolerance], expected, dtype)
    with pytest.raises(AssertionError, match=rf"must be at most .* for {dtype}\."):
        assert_close(expected + [0.0, 1.1 * tolerance], expected, dtype)
    assert_close(expected + [0.0, 1.9 * tolerance], expected, dtype, factor=2)


def test_the_dtype_of_what_is_judged_decides():
    assert_close(ops.convert_to_tensor([1.01], "bfloat16"), np.ones(1))
    with pytest.raises(AssertionError, match="for float32"):
        assert_close(ops.convert_to_tensor([1.01], "float32"), np.ones(1))


def test_shapes_are_compared_before_values():
    with pytest.raises(AssertionError, match=r"shapes must be equal\. Got \(1,\) and \(2, 1\)\."):
        assert_close(np.ones(1), np.ones((2, 1)))
    assert_close(np.ones((0, 3)), np.ones((0, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_close(value):
    with pytest.raises(AssertionError, match=r"1 of 2 values are not finite\."):
        assert_close(np.array([1.0, value]), np.ones(2))


def test_a_shape_is_run_in_python_once_on_jax_with_the_results_of_the_function():
    runs = []

    def function(x, *, scale=None):
        runs.append(1)
        return {"a": 2 * x}, scale

    once = compiled(function)
    for _ in range(3):
        results, nothing = once(ops.ones((2,)), scale=None)
        assert as_array(results["a"]).tolist() == [2.0, 2.0] and nothing is None
    assert len(runs) == (1 if keras.backend.backend() == "jax" else 3)


@pytest.mark.trainable
def test_value_and_gradients_are_those_of_calculus_and_zero_without_any():
    x, y = np.array([1.0, 2.0], "float32"), np.array([3.0, -1.0], "float32")
    value, gradients = value_and_gradient(lambda x, y, z: ops.sum(x**2 * y), x, y, y)
    assert_close(value, (x**2 * y).sum())
    for gradient, expected in zip(gradients, (2 * x * y, x**2, 0 * y), strict=True):
        assert_close(gradient, expected)
