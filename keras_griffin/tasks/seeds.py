"""The seed of a task's rows."""

from collections.abc import Sequence

import numpy as np

from keras_griffin.checks import Rule, checked, is_integer

#: An integer, or several: such as a run's seed, the epoch and the batch, whose rows are then independent.
Seed = int | Sequence[int]


def generator(owner: str, seed: Seed) -> np.random.Generator:
    """The generator from which a task, `owner`, draws its rows."""
    seed = checked(owner, _SEED, seed=seed)
    # NumPy ignores zeros at the end: without the length, (7, 0) would be (7,).
    return np.random.default_rng([*seed, len(seed)] if isinstance(seed, Sequence) else seed)


def _is_seed(value):
    numbers = value if isinstance(value, list | tuple) and value else [value]
    return all(is_integer(number) and number >= 0 for number in numbers)


_SEED = Rule("an integer of at least 0, or a list of such", _is_seed)
