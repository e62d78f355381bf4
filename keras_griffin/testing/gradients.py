"""Gradients of a function of NumPy arrays on the active backend."""

import keras
import numpy as np

from keras_griffin import backends


def value_and_gradient(function, *arrays):
    """Evaluate `function` and its gradients on the active backend.

    Args:
        function: takes one tensor for each array and returns a scalar tensor.
        *arrays: NumPy arrays of a floating dtype, which is preserved.

    Returns:
        (value, gradients): a NumPy scalar, and a list of NumPy arrays, one for each argument.

    Raises:
        ValueError: the active backend has no gradients.
    """
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    value, gradients = backends.active().value_and_gradient(function, tensors)
    as_numpy = keras.ops.convert_to_numpy
    return np.asarray(as_numpy(value)), [np.asarray(as_numpy(gradient)) for gradient in gradients]
