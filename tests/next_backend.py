"""The backend after the active one, in a ring: what each gives to its next, and all read alike, all exchange."""

import importlib.util

import keras
import pytest

NEXT = {"jax": "torch", "torch": "tensorflow", "tensorflow": "numpy", "numpy": "jax"}


def next_backend() -> str:
    """Its name. Where it isn't installed the test is skipped."""
    other = NEXT[keras.backend.backend()]
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    return other
