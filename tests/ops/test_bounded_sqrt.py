import contextlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.bounded_sqrt import bounded_slope, bounded_sqrt
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

VALUES = np.array([0.0, 1e-30, 1e-12, 2.4e-7, 2.6e-7, 1e-3, 0.5, 1.0, 9.0], "float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_value_is_exactly_the_square_root(dtype):
    x = ops.cast(VALUES, dtype)
    root = bounded_sqrt(x)
    assert keras.backend.standardize_dtype(root.dtype) == dtype
    np.testing.assert_array_equal(as_array(root), as_array(ops.sqrt(x)))
    assert_close(root, np.sqrt(as_array(x).astype("float64")))


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 3)])
def test_the_shape_is_kept(shape):
    assert tuple(bounded_sqrt(ops.ones(shape)).shape) == shape


def test_the_slope_is_bounded():
    """As gradients of one's own use it, without differentiating."""
    slope = bounded_slope(ops.sqrt(ops.convert_to_tensor(VALUES)))
    assert_close(slope, 0.5 / np.sqrt(np.maximum(VALUES.astype("float64"), 2.5e-7)), "float32")


@pytest.mark.trainable
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_derivative_is_bounded(dtype):
    x = as_array(ops.cast(VALUES, dtype))
    _, [gradient] = value_and_gradient(lambda x: ops.sum(ops.cast(bounded_sqrt(ops.cast(x, dtype)), "float32")), x)
    assert_close(gradient, 0.5 / np.sqrt(np.maximum(x.astype("float64"), 2.5e-7)), dtype)
    assert gradient.max() <= 1001


@pytest.mark.trainable
def test_a_derivative_in_double_precision():
    with double_precision():
        _, [gradient] = value_and_gradient(lambda x: ops.sum(bounded_sqrt(x)), VALUES.astype("float64"))
        assert_close(gradient, 0.5 / np.sqrt(np.maximum(VALUES.astype("float64"), 2.5e-7)), "float64")


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="second derivatives are PyTorch's")
def test_the_second_derivative_is_that_of_the_first():
    import torch

    x = VALUES.astype("float64")
    curvature = torch.func.vmap(torch.func.grad(torch.func.grad(bounded_sqrt)))(torch.tensor(x))
    assert_close(curvature, np.where(x > 2.5e-7, -0.25 * np.maximum(x, 1e-9) ** -1.5, 0.0), "float64")


def double_precision():
    """JAX has float64 only inside such a block."""
    if keras.backend.backend() != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)
