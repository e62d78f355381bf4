import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("JAX alone", allow_module_level=True)

from keras_griffin.models.jax_array import owned_copy


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5, 3)])
def test_a_copy_has_the_values_and_shares_no_memory(shape, dtype):
    array = np.full(shape, 1.0 + 2**-20)
    copy = owned_copy(array, np.dtype(dtype))
    expected = array.astype(dtype)
    array[...] = 0.0
    assert copy.dtype == dtype and copy.shape == shape
    np.testing.assert_array_equal(np.asarray(copy), expected)
