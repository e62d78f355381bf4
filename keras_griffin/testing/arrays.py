"""Tensors and variables of any backend as NumPy arrays."""

import keras
import numpy as np
from keras import ops


def as_array(values) -> np.ndarray:
    """The values as a NumPy array, with half precision widened to float32.

    Args:
        values: a tensor, a Keras variable or an array.
    """
    # Keras's NumPy backend would convert a float64 tensor to float32.
    tensor = values if ops.is_tensor(values) else ops.convert_to_tensor(values)
    if keras.backend.standardize_dtype(tensor.dtype) in ("bfloat16", "float16"):
        tensor = ops.cast(tensor, "float32")
    return np.asarray(ops.convert_to_numpy(tensor))
