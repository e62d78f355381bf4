import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

X, Y = np.array([1.0, 2.0], "float32"), np.array([3.0, -1.0], "float32")


@pytest.mark.trainable
def test_value_and_gradients_are_those_of_calculus():
    value, (of_x, of_y) = value_and_gradient(lambda x, y: ops.sum(x**2 * y), X, Y)
    assert_close(value, (X**2 * Y).sum())
    assert_close(of_x, 2 * X * Y)
    assert_close(of_y, X**2)


@pytest.mark.trainable
def test_what_the_value_does_not_depend_on_has_gradient_zero():
    _, (_, of_y) = value_and_gradient(lambda x, y: ops.sum(x), X, Y)
    assert_close(of_y, np.zeros(2))


def test_a_backend_without_gradients_is_named(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    message = r"value_and_gradient: the backend must be jax, torch or tensorflow\. Got numpy\."
    with pytest.raises(ValueError, match=message):
        value_and_gradient(ops.sum, X)
