import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.testing.arrays import as_array


@pytest.mark.parametrize("make", [ops.convert_to_tensor, keras.Variable, np.asarray])
def test_values_of_any_kind_become_a_numpy_array(make):
    array = as_array(make(np.array([1.5, -2.0], "float32")))
    assert type(array) is np.ndarray and array.dtype == "float32"
    np.testing.assert_array_equal(array, [1.5, -2.0])


def test_half_precision_is_widened_and_other_dtypes_stay():
    assert as_array(ops.ones((2,), "bfloat16")).dtype == "float32"
    assert as_array(ops.ones((2,), "float16")).dtype == "float32"
    assert as_array(ops.ones((2,), "int32")).dtype == "int32"
    if keras.backend.backend() != "jax":  # where float64 is off, and asking for it warns
        assert as_array(ops.ones((2,), "float64")).dtype == "float64"
