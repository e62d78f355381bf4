"""The random numbers of generation."""

import itertools
import random
from collections.abc import Iterator

import numpy as np

from keras_griffin.checks import is_integer


def uniform_numbers(function_name: str, seed: int | None, batch_size: int) -> Iterator[np.ndarray]:
    """Random numbers `(B,)` float32 in [0, 1) for each step; a row's depend only on the seed and its index."""
    if seed is None:
        # `keras.utils.set_random_seed` seeds Python's `random`.
        seed = random.getrandbits(64)
    if not is_integer(seed) or not 0 <= seed < 2**64:
        raise ValueError(f"{function_name}: the seed must be None or an integer from 0 to 2**64 - 1. Got {seed!r}.")
    rows = [uniform_row(seed, row) for row in range(batch_size)]
    return (np.array([row.random(dtype="float32") for row in rows], "float32") for _ in itertools.count())


def uniform_row(seed: int, row: int) -> np.random.Generator:
    """The generator of one row's numbers; each is `random(dtype="float32")`."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, row], "uint64")))
