import numpy as np
import pytest

from experiments.by_group import GROUPS, difference, grouped, groups
from experiments.table import Table

pytestmark = pytest.mark.any_backend


def table_of(**values):
    """A table in which runs of these names have these tests."""
    rows = []
    for name, own in values.items():
        head = name, name, "0", "0.001", "text"
        rows += [(*head, "0", "parameters", "1")]
        rows += [(*head, "9", metric, repr(value)) for _, metric, value in grouped("text", "nats", np.array(own))]
    return Table(rows)


def test_groups_are_means_of_neighbours():
    values = np.random.default_rng(0).normal(size=2 * GROUPS)
    table = table_of(a=values)
    (trial,) = table.trials()
    assert table.value(trial, "nats") == values.mean()
    np.testing.assert_array_equal(groups(table, trial, "nats"), values.reshape(GROUPS, 2).mean(axis=1))
    assert len(groups(table_of(a=[1, 2]), trial, "nats")) == 2 and not len(groups(table, trial, "accuracy"))


def test_differences_are_those_of_the_same_rows():
    noise = np.random.default_rng(0).normal(size=300)
    table = table_of(a=1 + noise, b=noise, c=[1.0])
    a, b, c = table.trials()
    found = difference(table, a, b, "nats")
    assert found.low == pytest.approx(1) and found.high == pytest.approx(1)
    assert difference(table, a, c, "nats") is None and difference(table, a, b, "accuracy") is None
