import pytest

from experiments import selective_copying
from experiments.harness.table import Table
from experiments.models.families import RING
from tests.experiments.harness import made_up

pytestmark = pytest.mark.any_backend

#: Of MQA's steps. With the ring's decays it takes half as long.
TIMES = {"MQA": 1.0, "Griffin": 1.2, "Hawk": 2.5}


def table(times=TIMES, noise=0.02):
    def steps_to_95(run):
        factor = times[run.family.removesuffix(RING)] * (0.5 if run.family.endswith(RING) else 1.0)
        return made_up.soonest_at(2e-3)(run) * factor * (1 + noise * run.seed)

    return made_up.carried_out(selective_copying, "small", (0, 1, 2), steps_to_95)


def words(found):
    return [claim.judge(found).word for claim in selective_copying.CLAIMS]


def test_the_papers_order_is_reproduced():
    found = table()
    assert words(found) == ["reproduced"] * 3
    griffin, hawk = (found.mean for name, found in selective_copying.slowness(found).items() if RING not in name)
    assert 1.1 < griffin < 1.3 and 2.0 < hawk < 3.0
    evidence = selective_copying.CLAIMS[1].judge(found).evidence
    assert "; 95 % MQA 500, 600, 600; 95 % Griffin 600, 700, 700; " in evidence
    assert selective_copying.finding(found) == "Griffin has 1.24 times MQA's area above the learning curve, Hawk 2.77"


def test_what_the_seeds_do_not_tell_is_undecided_and_the_reverse_is_not_reproduced():
    assert words(table(noise=1.0))[1:] == ["undecided", "undecided"]
    assert words(table({"MQA": 1.0, "Griffin": 2.5, "Hawk": 1.0}))[1:] == ["not reproduced", "not reproduced"]


def test_a_model_that_does_not_learn_solves_nothing():
    assert words(table({"MQA": 1.0, "Griffin": 1.2, "Hawk": 50.0}))[0] == "not reproduced"


def test_an_area_is_what_a_curve_lacks():
    run = selective_copying.plan("small", (0,), Table())[0]
    found = Table(made_up.results(run, 500.0))
    (trial,) = found.trials()
    steps, shares = found.curve(trial, "token_accuracy")
    assert steps == list(range(100, 3001, 100))
    assert found.area_above(trial, "token_accuracy") == pytest.approx(100 * sum(1 - share for share in shares))
