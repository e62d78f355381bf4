"""From memory that NumPy reads to an array of JAX, with one copy."""

import jax
import numpy as np

#: Bytes; of what lies elsewhere JAX makes a copy.
_ALIGNMENT = 64


def owned_copy(array: np.ndarray, dtype: np.dtype) -> jax.Array:
    """The array, rounded to a dtype, in new memory that belongs to JAX; on a CPU nothing else is allocated."""
    memory = np.empty(array.size * dtype.itemsize + _ALIGNMENT, "uint8")
    start = -memory.ctypes.data % _ALIGNMENT
    aligned = memory[start : start + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
    aligned[...] = array
    return jax.device_put(aligned)
