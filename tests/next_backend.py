"""The backend that reads what the active one has written.

Each reads what one other has written. Where it finds the same numbers in it, all of them read what any has written.
"""

import importlib.util

import keras
import pytest

#: A ring.
NEXT = {"jax": "torch", "torch": "tensorflow", "tensorflow": "numpy", "numpy": "jax"}


def next_backend() -> str:
    """Its name. Where it isn't installed the test is skipped."""
    other = NEXT[keras.backend.backend()]
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    return other
