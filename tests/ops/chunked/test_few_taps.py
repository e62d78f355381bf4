"""A sum of few taps against NumPy in float64; marks and states are tested with `causal_conv`."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.chunked.few_taps import sum_of_few_taps
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient


@pytest.mark.trainable
@pytest.mark.parametrize(
    ("batch_size", "length", "width", "taps"),
    [
        (2, 11, 3, 4),
        (1, 35, 5, 16),
        (2, 3, 3, 16),
        (2, 4, 3, 1),
        (1, 1, 1, 2),
        (2, 0, 3, 4),
        (0, 5, 3, 4),
        (2, 5, 0, 4),
    ],
)
def test_values_and_gradients(batch_size, length, width, taps):
    generator = np.random.default_rng(0)
    shapes = (batch_size, taps - 1 + length, width), (taps, width), (batch_size, length, width)
    history, kernel, weights = (generator.normal(size=shape).astype("float32") for shape in shapes)

    def loss(history, kernel):
        return ops.sum(sum_of_few_taps(history, None, kernel) * ops.convert_to_tensor(weights))

    expected, for_history = np.zeros(weights.shape), np.zeros(history.shape)
    for tap, scale in enumerate(kernel.astype("float64")):
        expected += history[:, tap : tap + length] * scale
        for_history[:, tap : tap + length] += weights * scale
    read = [history[:, tap : tap + length].astype("float64") for tap in range(taps)]
    for_kernel = np.stack([(x * weights).sum(axis=(0, 1)) for x in read])
    found = sum_of_few_taps(ops.convert_to_tensor(history), None, ops.convert_to_tensor(kernel))
    assert_close(found, expected)
    for one, other in zip(value_and_gradient(loss, history, kernel)[1], (for_history, for_kernel), strict=True):
        assert_close(one, other)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a gradient of its own on JAX alone")
def test_second_derivatives_of_jax():
    import jax

    generator = np.random.default_rng(1)
    history, kernel = (generator.normal(size=shape).astype("float32") for shape in ((2, 9, 2), (4, 2)))

    def slope(kernel):
        return jax.grad(lambda kernel: ops.sum(ops.square(sum_of_few_taps(history, None, kernel))))(kernel)

    read = np.stack([history[:, tap : tap + 6].astype("float64") for tap in range(4)])
    expected = 2 * np.einsum("sbtd,ubtd,de->sdue", read, read, np.eye(2))
    for derivative in (jax.jacfwd, jax.jacrev):
        assert_close(derivative(slope)(kernel), expected)
