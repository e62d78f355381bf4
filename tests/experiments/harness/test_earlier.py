import itertools
from types import SimpleNamespace

import pytest

from experiments.harness.earlier import is_kept, kept_rates, planned, trials_by_seed
from experiments.harness.run import Run
from experiments.harness.runner import rows_of
from experiments.harness.table import Table
from experiments.harness.training import Measurement
from experiments.models.families import FAMILIES
from tests.experiments.harness import made_up

pytestmark = pytest.mark.any_backend

RATES = (1e-3, 2e-3, 4e-3)
#: From the easiest, the first of the search.
SETTINGS = ["short", "long"]
#: The rate at which each family is fastest.
FASTEST = {"MQA": RATES[0], "Griffin": RATES[1], "Hawk": RATES[2]}


def plan(scale, seeds, table):
    """The runs of an experiment."""

    def run(family, setting, rate, seed):
        return Run("made_up", scale, family, None, {}, setting, 8, 1600, rate, seed, 100, 8)

    return planned(run, SETTINGS, RATES, seeds, table)


def steps_to_95(run):
    return 800 if run.learning_rate == FASTEST[run.family] else 1200


def test_every_family_is_searched_at_the_same_rates_with_one_seed_on_the_easiest_rung():
    runs = plan("small", (3, 4), Table())
    assert [(run.family, run.learning_rate) for run in runs] == [
        (family, rate) for family in FAMILIES for rate in RATES
    ]
    assert {(run.seed, run.setting) for run in runs} == {(3, SETTINGS[0])}


def test_what_is_not_trained_is_not_searched():
    row = ("a", "zlib", "0", "", "alone", "0", "parameters", "nan")
    table = made_up.carried_out(SimpleNamespace(plan=plan), "small", (0,), steps_to_95)
    both = Table([row, *table.rows])
    assert kept_rates(both) == kept_rates(table) == FASTEST and kept_rates(Table([row])) == {}
    assert is_kept(both, both.trials()[0])


def test_each_family_goes_on_at_its_fastest_rate_once_it_is_searched():
    searched = plan("small", (3, 4), Table())
    table = Table(row for run in searched[:-1] for row in made_up.results(run, steps_to_95(run)))
    runs = plan("small", (3, 4), table)
    # Hawk's search has not finished.
    assert runs[: len(searched)] == searched
    assert [(run.family, run.setting, run.seed) for run in runs[len(searched) :]] == [
        (family, setting, seed)
        # The first seed's run on the first rung belongs to the search.
        for setting, seed in ((SETTINGS[0], 4), *itertools.product(SETTINGS[1:], (3, 4)))
        for family in ("MQA", "Griffin")
    ]
    assert {run.learning_rate == FASTEST[run.family] for run in runs[len(searched) :]} == {True}


def test_where_none_gets_there_the_loss_decides():
    runs = plan("small", (0,), Table())
    rows = []
    for run in runs:
        loss = 1.0 if run.learning_rate == FASTEST[run.family] else 2.0
        measured = [("parameters", 1), ("token_accuracy", 0.5), ("loss", loss)]
        rows += rows_of(run, [Measurement(run.setting, 0, metric, value) for metric, value in measured], {})
    assert kept_rates(Table(rows)) == FASTEST


def test_only_kept_rates_and_seeds_of_every_family_are_compared():
    table = made_up.carried_out(SimpleNamespace(plan=plan), "small", (0, 1), steps_to_95)
    last = table.trials(setting=SETTINGS[-1])[-1]
    shorter = Table(row for row in table.rows if row.run != last.run)
    assert list(trials_by_seed(table, SETTINGS[-1])) == [0, 1] and list(trials_by_seed(shorter, SETTINGS[-1])) == [0]
    for trials in trials_by_seed(table, SETTINGS[0]).values():
        assert {family: trial.learning_rate for family, trial in trials.items()} == FASTEST
