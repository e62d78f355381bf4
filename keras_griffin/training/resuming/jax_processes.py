"""Communication between the processes of JAX."""

import importlib

import jax
import keras
import numpy as np


def place() -> tuple[int, int]:
    """This process's index, and the number of processes: 1 if each trains its own model."""
    if keras.distribution.distribution() is None:
        return 0, 1
    return jax.process_index(), jax.process_count()


def gathered(array: np.ndarray) -> np.ndarray:
    """The array of every process, `(P, ...)`."""
    return np.asarray(_utilities().process_allgather(array))


def sent(array: np.ndarray, source: int) -> np.ndarray:
    """The array of one process."""
    return np.asarray(_utilities().broadcast_one_to_all(array, jax.process_index() == source))


def _utilities():
    # Keras does not import this module, and a single process does not need it.
    return importlib.import_module("jax.experimental.multihost_utils")
