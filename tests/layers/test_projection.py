import numpy as np
import pytest

from keras_griffin.layers import projection
from keras_griffin.testing.arrays import as_array


@pytest.mark.parametrize("variance_scale", [1.0, 0.1])
def test_the_kernel_is_normal_with_the_variance_asked_for(variance_scale):
    layer = projection(256, variance_scale=variance_scale, name="up")
    layer.build((None, 512))
    kernel = as_array(layer.kernel) / np.sqrt(variance_scale / 512)
    np.testing.assert_allclose([kernel.mean(), kernel.std()], [0.0, 1.0], atol=0.02)
    assert np.abs(kernel).max() > 3.5  # not truncated at two deviations
    assert layer.name == "up" and not as_array(layer.bias).any()


def test_the_bias_can_be_left_out():
    layer = projection(4, use_bias=False)
    layer.build((None, 3))
    assert [tuple(weight.shape) for weight in layer.weights] == [(3, 4)]
