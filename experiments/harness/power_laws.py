"""Power laws through losses at several numbers of operations: a line in logarithms, and one above a floor.

Losses are `(..., S)`, at the same S numbers of operations: with axes before the last, such as the draws of a bootstrap,
each row has a fit of its own.
"""

from typing import NamedTuple

import numpy as np

#: Floors to try, in units of the least loss.
FLOORS = np.linspace(0, 0.98, 50)


class PowerLaw(NamedTuple):
    """L = floor + exp(scale) C^-exponent, each a number or `(...,)`."""

    scale: np.ndarray
    exponent: np.ndarray
    floor: np.ndarray

    def __call__(self, flops: np.ndarray) -> np.ndarray:
        """The losses at some numbers of operations: `(S,)` to `(..., S)`."""
        scale, exponent, floor = (np.asarray(each)[..., None] for each in self)
        return floor + np.exp(scale - exponent * np.log(flops))


def line(flops: np.ndarray, losses: np.ndarray) -> PowerLaw:
    """log L = k - alpha log C by least squares.

    Args:
        flops: C, `(S,)`, at least two.
        losses: L, `(..., S)`.
    """
    return _above(np.zeros(losses.shape[:-1]), flops, losses)


def above_a_floor(flops: np.ndarray, losses: np.ndarray) -> PowerLaw:
    """L = E + A C^-alpha, with the floor E of those tried that is nearest to log L, by least squares.

    For each E, log (L - E) is a line in log C.

    Args:
        flops: C, `(S,)`, at least three.
        losses: L, `(..., S)`.
    """
    fits = [_above(share * losses.min(axis=-1), flops, losses) for share in FLOORS]
    errors = np.array([np.square(residuals(fit, flops, losses)).sum(axis=-1) for fit in fits])
    found = errors.argmin(axis=0)[None]
    return PowerLaw(*(np.take_along_axis(np.array(parts), found, axis=0)[0] for parts in zip(*fits, strict=True)))


def residuals(fit: PowerLaw, flops: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """log L less that of the fit: `(..., S)`."""
    return np.log(losses) - np.log(fit(flops))


def r_squared(fit: PowerLaw, flops: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The share of the variance of log L that a fit explains: `(...)`."""
    logs = np.log(losses)
    around = logs - logs.mean(axis=-1, keepdims=True)
    return 1 - np.square(residuals(fit, flops, losses)).sum(axis=-1) / np.square(around).sum(axis=-1)


def _above(floor, flops, losses):
    """The power law above a floor, `(...)`."""
    x, y = np.log(flops), np.log(losses - floor[..., None])
    away = x - x.mean()
    exponent = -(away * y).sum(axis=-1) / np.square(away).sum()
    return PowerLaw(y.mean(axis=-1) + exponent * x.mean(), exponent, floor)
