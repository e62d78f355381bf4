"""NumPy: a CPU, values, and no gradients. The contract is in the package's docstring."""

import contextlib

import keras
import numpy as np

DTYPE_NAMES: dict = {}


def device_kind() -> str:
    """The CPU."""
    return "cpu"


def has_values(tensors) -> bool:
    """Always."""
    return True


def _never(*_) -> bool:
    """Nothing is transformed or distributed, and the threads of its products survive a fork."""
    return False


is_transformed = is_exported = has_strategy = has_threads = _never


def _nothing(*_) -> None:
    """Nothing is traced or compiled, the variables hold their values, and products read rows."""


before_first_step = sync_variables = before_config_is_written = keep_programs = store_by_column = _nothing


def without_gradients():
    """There are none."""
    return contextlib.nullcontext()


def owned_copy(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A C-contiguous copy."""
    return np.array(array, dtype, order="C")


def int8_product(rows, matrix):
    """Keras's, whose sums are int32."""
    return keras.ops.matmul(rows, matrix)


def places(variables) -> tuple:
    """The variables themselves."""
    return tuple(id(variable) for variable in variables)


def compiled(function):
    """The function."""
    return function


def value_and_gradient(function, tensors):
    """Refused: there are no gradients."""
    backend = keras.backend.backend()
    raise ValueError(f"value_and_gradient: the backend must be jax, torch or tensorflow. Got {backend}.")


def process() -> tuple[int, int]:
    """The only one."""
    return 0, 1


def gathered(array: np.ndarray) -> np.ndarray:
    """The array of the only process."""
    return array[None]


def sent(array: np.ndarray, source: int) -> np.ndarray:
    """The array of the only process."""
    return array
