"""A step is finite if all its numbers are, and its norm is below 1e14."""

import numpy as np
import pytest

from keras_griffin.ops.shared.finite import finite_steps
from keras_griffin.testing.arrays import as_array


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_steps(dtype):
    x = np.ones((1, 4, 2, 2), dtype)
    x[0, 1, 0, 0], x[0, 2, 1, 1] = np.nan, -np.inf
    assert as_array(finite_steps(x)).tolist() == [[True, False, False, True]]


# NumPy says where a square overflows.
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_practically_infinite():
    x = np.array([[[1e14, 0.0], [8e13, 8e13], [9e13, 0.0], [3e38, 3e38]]], "float32")
    assert as_array(finite_steps(x)).tolist() == [[False, False, True, False]]
