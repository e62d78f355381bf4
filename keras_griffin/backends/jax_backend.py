"""JAX. The contract stands in the package."""

import jax
import numpy as np

from keras_griffin.backends.numpy_backend import (  # noqa: F401
    before_config_is_written,
    before_first_step,
    has_strategy,
    without_gradients,
)

#: Bytes; of what lies elsewhere JAX makes a copy.
_ALIGNMENT = 64


def device_kind() -> str:
    """That of JAX's default backend."""
    platform = jax.default_backend()
    return platform if platform in ("cpu", "tpu") else "gpu"


def has_values(tensors) -> bool:
    """False while a function of them is compiled or differentiated."""
    return not any(isinstance(tensor, jax.core.Tracer) for tensor in tensors)


def sync_variables(model) -> None:
    """Between steps the values are in the loop of `fit`, and the variables are empty."""
    model.jax_state_sync()


def owned_copy(array: np.ndarray, dtype: np.dtype) -> jax.Array:
    """In memory that belongs to JAX, with one copy; on a CPU nothing else is allocated."""
    memory = np.empty(array.size * dtype.itemsize + _ALIGNMENT, "uint8")
    start = -memory.ctypes.data % _ALIGNMENT
    aligned = memory[start : start + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
    aligned[...] = array
    return jax.device_put(aligned)


def compiled(function):
    """For each shape that it meets. A function of its own each time, so that nothing is kept from another's trace."""
    return jax.jit(lambda *arguments, **named: function(*arguments, **named))


def value_and_gradient(function, tensors):
    """Compiled."""
    gradient = jax.jit(jax.value_and_grad(function, argnums=tuple(range(len(tensors)))))
    return gradient(*tensors)
