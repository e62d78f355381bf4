import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.scale_channels import scale_channels
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

GENERATOR = np.random.default_rng(0)
SCALE = GENERATOR.normal(size=5).astype("float32")


@pytest.mark.parametrize("shape", [(5,), (3, 5), (1, 7, 5), (2, 3, 4, 5), (2, 0, 5)])
def test_it_is_the_product(shape):
    x = GENERATOR.normal(size=shape).astype("float32")
    assert_close(scale_channels(ops.convert_to_tensor(x), ops.convert_to_tensor(SCALE)), x.astype("float64") * SCALE)


@pytest.mark.trainable
def test_gradients():
    x, weight = GENERATOR.normal(size=(2, 1, 7, 5)).astype("float32")

    def loss(x, scale):
        return ops.sum(scale_channels(x, scale) * ops.convert_to_tensor(weight))

    _, (for_x, for_scale) = value_and_gradient(loss, x, SCALE)
    assert_close(for_x, weight.astype("float64") * SCALE)
    assert_close(for_scale, (weight.astype("float64") * x).sum((0, 1)))
