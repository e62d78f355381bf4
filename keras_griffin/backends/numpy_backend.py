"""NumPy: a CPU, values, and no gradients. The contract is in the package's docstring."""

import contextlib
from collections.abc import Callable

import keras
import numpy as np
from keras import ops


def device_kind() -> str:
    """The CPU."""
    return "cpu"


def has_values(tensors) -> bool:
    """Always."""
    return True


def is_transformed() -> bool:
    """Never."""
    return False


def has_strategy() -> bool:
    """Never."""
    return False


def without_gradients():
    """There are none."""
    return contextlib.nullcontext()


def before_first_step(model) -> None:
    """Nothing is traced."""


def sync_variables(model) -> None:
    """Nothing: the variables hold their values."""


def before_config_is_written() -> None:
    """Nothing."""


def keep_programs(find_folder: Callable[[], str | None]) -> None:
    """Nothing is compiled."""


def has_threads() -> bool:
    """The products have some, but they survive a fork."""
    return False


def owned_copy(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A C-contiguous copy."""
    return np.array(array, dtype, order="C")


def int8_product(rows, matrix):
    """Keras's, whose sums are int32."""
    return ops.matmul(rows, matrix)


def store_by_column(variable) -> None:
    """Nothing: the product reads rows."""


def places(variables) -> tuple:
    """The variables themselves."""
    return tuple(id(variable) for variable in variables)


def compiled(function):
    """The function."""
    return function


def value_and_gradient(function, tensors):
    """Refused: there are no gradients."""
    raise ValueError(f"value_and_gradient: the backend must be jax, torch or tensorflow. Got {keras.backend.backend()}.")


def process() -> tuple[int, int]:
    """The only one."""
    return 0, 1


def gathered(array: np.ndarray) -> np.ndarray:
    """The array of the only process."""
    return array[None]


def sent(array: np.ndarray, source: int) -> np.ndarray:
    """The array of the only process."""
    return array
