"""Tests on the same rows for all models: a measure's mean, and its means over small groups of rows.

The groups, such as the held-out windows of a text, are what a bootstrap draws from; there are few, so that a CSV file
stays short.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from experiments.harness.intervals import Interval, interval
from experiments.harness.table import Table, Trial
from experiments.harness.training import Test

#: At most.
GROUPS = 128


def grouped(setting: str, metric: str, values: np.ndarray) -> Iterator[Test]:
    """The tests that keep a measure in a table: its mean over rows, and that of each group of neighbouring rows.

    Args:
        setting: of the tests.
        metric: of the measure.
        values: `(rows,)`.
    """
    for name, value in parts(metric, values):
        yield setting, name, value


def parts(metric: str, values: np.ndarray) -> Iterator[tuple[str, float]]:
    """The same without the setting: metrics and their values."""
    yield metric, float(values.mean())
    for place, group in enumerate(np.array_split(values, min(GROUPS, len(values)))):
        yield f"{metric}_of_group_{place}", float(group.mean())


def groups(table: Table, trial: Trial, metric: str, setting: str | None = None) -> np.ndarray:
    """The means of a run's groups in the setting of a test, or of training: `(G,)`, empty if they are not there."""
    texts = (table.text(trial, f"{metric}_of_group_{place}", setting) for place in itertools.count())
    return np.array([float(text) for text in itertools.takewhile(bool, texts)])


def difference(one: np.ndarray, other: np.ndarray) -> Interval | None:
    """By how much one measure is above another on the same rows; None if not both are there.

    Args:
        one: `(G,)`, as from `groups`.
        other: likewise.
    """
    return interval(one - other) if len(one) and len(one) == len(other) else None
