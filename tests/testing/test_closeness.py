import numpy as np
import pytest
from keras import ops

from keras_griffin.testing.closeness import TOLERANCES, assert_close


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_tolerance_is_relative_to_the_largest_magnitude_but_at_least_to_one(dtype, scale):
    expected = np.array([scale, 0.0])
    tolerance = TOLERANCES[dtype] * max(1.0, scale)
    assert_close(expected + [0.0, 0.9 * tolerance], expected, dtype)
    with pytest.raises(AssertionError, match=rf"must be at most .* for {dtype}\."):
        assert_close(expected + [0.0, 1.1 * tolerance], expected, dtype)
    assert_close(expected + [0.0, 1.9 * tolerance], expected, dtype, factor=2)


def test_the_dtype_of_what_is_judged_decides():
    expected = np.array([1.0])
    assert_close(ops.convert_to_tensor([1.01], "bfloat16"), expected)
    with pytest.raises(AssertionError, match="for float32"):
        assert_close(ops.convert_to_tensor([1.01], "float32"), expected)


def test_shapes_are_compared_before_values():
    with pytest.raises(AssertionError, match=r"shapes must be equal\. Got \(1,\) and \(2, 1\)\."):
        assert_close(np.ones(1), np.ones((2, 1)))
    assert_close(np.ones((0, 3)), np.ones((0, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_close(value):
    with pytest.raises(AssertionError, match=r"1 of 2 values are not finite\."):
        assert_close(np.array([1.0, value]), np.ones(2))
