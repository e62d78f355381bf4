import numpy as np
import pytest

from experiments import selective_copying
from experiments.harness.by_group import GROUPS, difference, grouped, groups
from experiments.harness.intervals import interval
from experiments.harness.table import Table
from tests.experiments.harness import made_up

pytestmark = pytest.mark.any_backend

RUN = selective_copying.plan("smoke", (0,), Table())[0]


def test_groups_are_means_of_neighbours_in_each_setting():
    values = np.random.default_rng(0).normal(size=2 * GROUPS)
    tests = [*grouped(RUN.setting, "nats", values), *grouped("far", "nats", values[:2])]
    table = Table(made_up.results(RUN, 500, tests))
    trial = table.trials()[0]
    assert table.value(trial, "nats") == pytest.approx(values.mean(), rel=1e-5)
    np.testing.assert_allclose(groups(table, trial, "nats"), values.reshape(GROUPS, 2).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(groups(table, trial, "nats", "far"), values[:2], rtol=1e-5)
    assert len(groups(table, trial, "nats", "near")) == len(groups(table, trial, "accuracy")) == 0


def test_only_the_same_rows_are_compared():
    one, other = np.array([1.0, 2.0, 4.0]), np.array([1.5, 1.0, 2.0])
    assert difference(one, other) == interval(np.array([-0.5, 1.0, 2.0]))
    assert difference(one, other[:2]) is None and difference(one[:0], other[:0]) is None
