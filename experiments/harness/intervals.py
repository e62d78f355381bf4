"""Differences between two models on the same windows of a text, with intervals from a bootstrap over the windows."""

from typing import NamedTuple

import numpy as np

RESAMPLES = 2000


class Interval(NamedTuple):
    """A number, such as a mean difference in nats, and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def interval(differences: np.ndarray) -> Interval:
    """The interval of a mean from a bootstrap over windows.

    Args:
        differences: `(W,)`, one for each window.
    """
    return spread(differences.mean(), resampled(differences))


def resampled(values: np.ndarray) -> np.ndarray:
    """Means over windows that a bootstrap draws, the same for all rows: `(..., W)` to `(RESAMPLES, ...)`."""
    number = values.shape[-1]
    draws = np.random.default_rng(0).integers(0, number, size=(RESAMPLES, number))
    # One row after the other, for the memory.
    means = [row[draws].mean(axis=1) for row in values.reshape(-1, number)]
    return np.stack(means, axis=-1).reshape(RESAMPLES, *values.shape[:-1])


def spread(found: float, drawn: np.ndarray) -> Interval:
    """What was found, with the interval of what a bootstrap gives: `(RESAMPLES,)`."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(found), float(low), float(high))


def is_below(found: Interval | None, bound: float) -> bool | None:
    """Whether a difference is below a bound; None where the interval has it on both sides, or there is none."""
    if found is None or found.low <= bound <= found.high:
        return None
    return found.high < bound


def is_above(found: Interval | None, bound: float) -> bool | None:
    """Whether a difference is above a bound; None as in `is_below`."""
    below = is_below(found, bound)
    return None if below is None else not below


def is_within(found: Interval | None, bound: float) -> bool | None:
    """Whether a difference is less than a bound in either direction; None as in `is_below`."""
    sides = is_below(found, bound), is_above(found, -bound)
    return False if False in sides else None if None in sides else True
