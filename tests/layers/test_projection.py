import numpy as np
import pytest
from keras import ops

from keras_griffin import backends
from keras_griffin.layers import projection
from keras_griffin.layers.projection import kernel_of, project
from keras_griffin.ops.case import rounded
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close


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


def of_int8(dtype):
    """A projection of integers of eight bits, its inputs and its kernel in float64."""
    layer = projection(7, dtype=dtype)
    layer.build((None, 12))
    generator = np.random.default_rng(0)
    layer.set_weights([generator.normal(size=shape) for shape in [(12, 7), (7,)]])
    layer.quantize("int8")
    inputs = generator.normal(size=(2, 3, 12))
    kernel = as_array(kernel_of(layer)).astype("float64") / as_array(layer.kernel_scale)
    return layer, rounded(inputs, dtype), kernel


@pytest.mark.trainable  # Keras's NumPy backend warns of what its int8 layers need for gradients
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("by_column", [False, True])
def test_a_product_of_int8_is_that_of_rounded_rows_and_the_kernel(dtype, rows, by_column):
    layer, inputs, kernel = of_int8(dtype)
    if by_column:
        backends.active().store_by_column(kernel_of(layer))
    inputs = inputs[:1, :rows]
    step = np.abs(inputs).max(-1, keepdims=True) / 127
    expected = step * np.round(inputs / step) @ kernel + as_array(layer.bias)
    assert_close(project(layer, inputs.astype(dtype)), expected, dtype)
    assert_close(project(layer, inputs.astype(dtype)), as_array(layer(inputs.astype(dtype))), dtype, factor=3)
    error = np.abs(expected - (inputs @ kernel + as_array(layer.bias))).max()
    assert 0 < error < step.max() * np.abs(kernel).sum(0).max() / 2


@pytest.mark.trainable
def test_the_gradient_of_a_product_of_int8_is_that_of_its_kernel_and_its_adapter():
    layer, inputs, kernel = of_int8("float32")
    layer.enable_lora(2)
    a, b = np.random.default_rng(1).normal(size=(12, 2)), np.random.default_rng(2).normal(size=(2, 7))
    layer.lora_kernel_a.assign(a)
    layer.lora_kernel_b.assign(b)
    weights = np.random.default_rng(3).normal(size=(2, 3, 7))
    value, (gradient,) = backends.active().value_and_gradient(
        lambda x: ops.sum(project(layer, x) * ops.convert_to_tensor(weights, "float32")),
        [ops.convert_to_tensor(inputs.astype("float32"))],
    )
    assert_close(gradient, weights @ (kernel + a @ b).T)
    step = np.abs(inputs).max(-1, keepdims=True) / 127
    outputs = step * np.round(inputs / step) @ kernel + inputs @ a @ b + as_array(layer.bias)
    assert_close(value, np.sum(outputs * weights))
