import numpy as np
import pytest
from keras import ops

from keras_griffin.layers.units.discretization import DISCRETIZATIONS
from keras_griffin.testing.arrays import as_array


@pytest.mark.parametrize("name", DISCRETIZATIONS)
def test_small_steps_follow_the_continuous_system(name):
    """a is 1 + lambda d, and b is d (but for impulses, which are not scaled), to the next order."""
    rate = np.array([-0.5 + 3.0j, -2.0])
    real, imaginary, step = (ops.convert_to_tensor(x, "float32") for x in (rate.real, rate.imag, [1e-4, 1e-4]))
    decay, factor = DISCRETIZATIONS[name]((real, imaginary), step)
    decay, factor = (as_array(pair[0]) + 1j * as_array(pair[1]) for pair in (decay, factor))
    np.testing.assert_allclose(decay, 1 + rate * 1e-4, atol=1e-6)
    np.testing.assert_allclose(factor, 1.0 if name == "dirac" else 1e-4, rtol=1e-3)
