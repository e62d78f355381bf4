import math

import pytest

from experiments import induction_heads
from experiments.harness.run import Run
from experiments.harness.runner import NAMES, rows_of
from experiments.harness.search import MOST, best, is_kept, kept_rates, planned, searched, searches, trials_by_seed
from experiments.harness.table import Table
from experiments.harness.training import Measurement
from experiments.models.families import FAMILIES
from tests.experiments.harness import made_up
from tests.experiments.harness.test_report import RESULTS

pytestmark = pytest.mark.any_backend

SHORT, LONG = (induction_heads.name(256, steps) for steps in induction_heads.SIZES["small"].steps)
RATES = induction_heads.SIZES["small"].learning_rates
#: The rate at which each family is fastest: the least, the middle and the greatest to begin with.
FASTEST = dict(zip(FAMILIES, RATES, strict=True))


def steps_to_95(run):
    return 800 if run.learning_rate == FASTEST.get(run.family, RATES[1]) else 1200


def run_at(rate, family="MQA", setting="easy", seed=0):
    return Run("e", "small", family, None, {}, setting, 1, 1, rate, seed, 1, 1)


def with_losses(losses, family="MQA", seed=0):
    """A table of runs with these losses, by rate."""
    rows = []
    for rate, loss in losses.items():
        run = run_at(rate, family, seed=seed)
        measured = [("parameters", 1), *(("loss", each) for each in loss)]
        rows += rows_of(run, [Measurement(run.setting, 0, metric, value) for metric, value in measured], {})
    return Table(rows)


def test_every_family_is_searched_at_the_same_rates_with_one_seed_on_the_easiest_rung():
    runs = induction_heads.plan("small", (3, 4), Table())
    families = induction_heads.SIZES["small"].families
    assert [(run.family, run.learning_rate) for run in runs] == [
        (family, rate) for family in families for rate in RATES
    ]
    assert {(run.seed, run.setting) for run in runs} == {(3, SHORT)}


@pytest.mark.parametrize(
    ("tried", "kept", "further"),
    [
        ({1.0: [3], 2.0: [1], 4.0: [2]}, 2.0, None),
        ({1.0: [1], 2.0: [2], 4.0: [3]}, None, 0.5),
        ({1.0: [3], 2.0: [2], 4.0: [1]}, None, 8.0),
        ({1.0: [3], 2.0: [2], 4.0: [1], 8.0: [2]}, 4.0, None),
        # A run that diverged is at no rate the best one, and the least loss of a run counts.
        ({1.0: [3], 2.0: [2, 0.5, 9], 4.0: [math.nan]}, 2.0, None),
        # Equal losses: the least rate, so that a search ends where a rate makes no difference.
        ({1.0: [1], 2.0: [1], 4.0: [1], 0.5: [2]}, 1.0, None),
        ({1.0: [3], 2.0: [1]}, None, 4.0),
    ],
)
def test_a_search_goes_on_until_its_best_rate_lies_between_two_others(tried, kept, further):
    runs, found = searched(run_at, (1.0, 2.0, 4.0), with_losses(tried))
    assert found == kept
    waiting = [run.learning_rate for run in runs if run.learning_rate not in tried]
    assert waiting == ([] if further is None else [further])


def test_a_search_may_be_closed_and_a_single_rate_is_none():
    table = with_losses({1.0: [1], 2.0: [2]})
    assert searched(run_at, (1.0, 2.0), table, is_closed=True)[1] == 1.0
    assert searched(run_at, (1.0,), table)[1] == 1.0
    assert searched(run_at, (1.0, 3.0), table)[1] is None
    # Where no rate makes a difference, a search ends too.
    rates = [1.0]
    while len(rates) < MOST:
        rates.append(float(f"{rates[-1] / 2:.6g}"))
    assert searched(run_at, (0.5, 1.0), with_losses({rate: [1] for rate in rates}))[1] == rates[-1]


def test_what_is_not_trained_is_not_searched():
    row = ("a", "zlib", "0", "", "alone", "0", "parameters", "nan")
    table = made_up.carried_out(induction_heads, "small", (0,), steps_to_95)
    both = Table([row, *table.rows])
    assert kept_rates(both) == kept_rates(table) and kept_rates(Table([row])) == {}
    assert kept_rates(table).items() >= FASTEST.items() and is_kept(both, both.trials()[0])


def test_each_family_goes_on_at_its_best_rate_once_its_search_has_ended():
    table = with_losses({1.0: [3], 2.0: [1], 4.0: [2]}, "MQA", 3)
    table = Table([*table.rows, *with_losses({1.0: [3], 2.0: [2], 4.0: [1]}, "Hawk", 3).rows])

    def make(family, rung, rate, seed):
        return run_at(rate, family, rung, seed)

    runs = planned(make, ("easy", "hard"), (1.0, 2.0, 4.0), (3, 4), table, ("MQA", "Hawk"))
    assert [(run.family, run.setting, run.learning_rate, run.seed) for run in runs] == [
        *(("MQA", "easy", rate, 3) for rate in (1.0, 2.0, 4.0)),
        *(("Hawk", "easy", rate, 3) for rate in (1.0, 2.0, 4.0, 8.0)),
        # The first seed's run on the first rung belongs to the search.
        *(("MQA", setting, 2.0, seed) for setting, seed in (("easy", 4), ("hard", 3), ("hard", 4))),
    ]


def test_only_kept_rates_and_seeds_of_every_family_are_compared():
    table = made_up.carried_out(induction_heads, "small", (0, 1), steps_to_95)
    last = table.trials("Hawk", LONG)[-1]
    shorter = Table(row for row in table.rows if row.run != last.run)
    assert list(trials_by_seed(table, LONG)) == [0, 1] and list(trials_by_seed(shorter, LONG)) == [0]
    for trials in trials_by_seed(table, SHORT).values():
        assert {family: trial.learning_rate for family, trial in trials.items()} == FASTEST


#: Experiments whose searches have two or three rates and end there.
CLOSED = ("english", "forecasting", "list_operations", "pixels", "resets")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CLOSED])
def test_no_rate_that_is_kept_is_at_the_edge_of_its_search(name):
    """Where the best rate is the greatest or the least that was tried, the search says where it ended."""
    file = RESULTS / f"{name}.csv"
    if not file.exists():
        pytest.skip("not yet run")
    table = Table.read(file)
    trained = [trial for trial in table.trials() if trial.learning_rate]
    ended = set()
    for family, setting in {(trial.family, trial.setting) for trial in trained}:
        # A task may have a search of its own, and a harder setting of one has none.
        (trials,) = searches(Table(row for row in table.part(setting).rows if row.family == family)).values()
        tried = sorted(trial.learning_rate for trial in trials)
        if len(tried) > 1:
            ended.add(family)
            assert tried[0] < best(table, trials).learning_rate < tried[-1], f"{trials[0]}: {tried}"
    assert ended == {trial.family for trial in trained}
