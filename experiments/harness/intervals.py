"""Differences between two models, with intervals of 95 %.

Within one trained model, as after long and short contexts, they come from a bootstrap over the windows of a text.
Between models they come from the spread between seeds, which on the texts here is some nine times as wide.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

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
    number = len(differences)
    draws = np.random.default_rng(0).integers(0, number, size=(RESAMPLES, number))
    low, high = np.quantile(differences[draws].mean(axis=1), [0.025, 0.975])
    return Interval(float(differences.mean()), float(low), float(high))


def in_short(found: Iterable[Interval | None], unit: str) -> str:
    """The least and the greatest mean of some intervals, or the only one; empty if there is none."""
    means = sorted(each.mean for each in found if each)
    ends = dict.fromkeys(f"{each:+.3f}" for each in (*means[:1], *means[-1:]))
    return f"{' to '.join(ends)} {unit}" if ends else ""


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


class Deviation(NamedTuple):
    """The standard deviation between seeds, and its degrees of freedom."""

    value: float
    freedom: int


def deviation(groups: Iterable[Sequence[float]]) -> Deviation:
    """The deviation between the seeds of a model, pooled over models.

    Args:
        groups: a number for each seed of a model, for each model.
    """
    groups = [np.asarray(group, float) for group in groups]
    squares = sum(float(np.square(group - group.mean()).sum()) for group in groups if len(group))
    freedom = sum(len(group) - 1 for group in groups if len(group))
    return Deviation((squares / freedom) ** 0.5 if freedom else math.nan, freedom)


def of_seeds(one: Sequence[float], other: Sequence[float], deviation: Deviation) -> Interval | None:
    """By how much the mean of one model's seeds is above another's; None as from `contrast`."""
    return contrast([(1.0, one), (-1.0, other)], deviation)


def contrast(terms: Iterable[tuple[float, Sequence[float]]], deviation: Deviation) -> Interval | None:
    """A sum of means of models' seeds, each with its factor; None if one has no seed or the spread is unknown.

    Student's t with the spread between seeds of all models that are compared, since that of three seeds is itself
    hardly known: sum_i f_i mean_i +- t sqrt(sum_i f_i^2 / n_i) deviation.

    Args:
        terms: the factor f and a number for each seed, of each model.
        deviation: of a run from the mean of its seeds.
    """
    terms = list(terms)
    if not (all(len(values) for _, values in terms) and deviation.freedom):
        return None
    mean = float(sum(factor * np.mean(values) for factor, values in terms))
    variance = sum(factor**2 / len(values) for factor, values in terms)
    half = float(stats.t.ppf(0.975, deviation.freedom) * deviation.value * variance**0.5)
    return Interval(mean, mean - half, mean + half)


def ratio(one: Sequence[float], other: Sequence[float], deviation: Deviation) -> Interval | None:
    """How many times another model's numbers one model's are: `of_seeds` of their logarithms.

    Args:
        one: a logarithm for each seed.
        other: likewise.
        deviation: of the logarithms, as for `of_seeds`.
    """
    found = of_seeds(one, other, deviation)
    return found and Interval(*map(math.exp, found))


def times(found: Interval | None) -> str:
    """A ratio in words."""
    return f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f})" if found else "not compared"
