"""Tests on the same rows for all models: a measure's mean, and its means over small groups of rows.

The groups are what a bootstrap draws from; there are few, so that a CSV file stays short.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from experiments.intervals import Interval, interval
from experiments.table import Table, Trial
from experiments.training import Test

#: At most.
GROUPS = 64


def grouped(setting: str, metric: str, values: np.ndarray) -> Iterator[Test]:
    """The mean of a measure over rows, and the mean of each group of neighbouring rows.

    Args:
        setting: of the test.
        metric: of the measure.
        values: `(rows,)`.
    """
    yield setting, metric, float(values.mean())
    for place, group in enumerate(np.array_split(values, min(GROUPS, len(values)))):
        yield setting, f"{metric}_of_group_{place}", float(group.mean())


def groups(table: Table, trial: Trial, metric: str) -> np.ndarray:
    """The means of a run's groups in the setting in which it trains: `(groups,)`, empty if there are none."""
    texts = (table.text(trial, f"{metric}_of_group_{place}") for place in itertools.count())
    return np.array([float(text) for text in itertools.takewhile(bool, texts)])


def difference(table: Table, one: Trial, other: Trial, metric: str) -> Interval | None:
    """By how much one model's measure is above another's on the same rows; None if not both were tested."""
    first, second = (groups(table, trial, metric) for trial in (one, other))
    return interval(first - second) if len(first) and len(first) == len(second) else None
