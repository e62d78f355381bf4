import math

import numpy as np
import pytest

from experiments import selective_copying
from experiments.harness.table import Table
from experiments.models.families import training_flops
from tests.experiments import made_up

pytestmark = pytest.mark.any_backend


def words(steps, seeds=(0, 1, 2)):
    """The verdicts of `table_of`."""
    return [claim.judge(table_of(steps, seeds)) for claim in selective_copying.CLAIMS]


def table_of(steps, seeds=(0, 1, 2)):
    """Results where families need so many steps to 95 %, by family, or by family and seed or rung."""

    def steps_to_95(run):
        for key in ((run.family, run.seed, run.setting), (run.family, run.setting), (run.family, run.seed)):
            if key in steps:
                return steps[key]
        return steps[run.family]

    return made_up.carried_out(selective_copying, "small", seeds, steps_to_95)


def test_the_finding_is_who_copies_first():
    told = selective_copying.finding(table_of({"MQA": 500, "Griffin": 400, "Hawk": math.inf}))
    assert told == "Copying 95 % of 8 in 64 takes Griffin 400 steps (median), MQA 500, Hawk never"
    told = selective_copying.finding(table_of({"MQA": math.inf, "Griffin": math.inf, "Hawk": math.inf}))
    assert told == "No family copies 95 % of 4 in 32"


def test_the_papers_order_is_reproduced():
    verdicts = words({"MQA": 400, "Griffin": 500, "Hawk": 1000})
    assert [verdict.word for verdict in verdicts] == 3 * ["reproduced"]
    assert [verdict.evidence[:8] for verdict in verdicts] == 3 * ["8 in 64:"]
    assert "500 for 400; 500 for 400; 500 for 400; median ratio 1.25" in verdicts[1].evidence


def test_equal_speeds_are_not_reproduced():
    found = [verdict.word for verdict in words({"MQA": 500, "Griffin": 500, "Hawk": 600})]
    assert found == ["reproduced", "reproduced", "not reproduced"]


def test_between_the_bounds_hawk_is_undecided():
    assert words({"MQA": 500, "Griffin": 900, "Hawk": 900})[1:] == [
        ("not reproduced", "8 in 64: steps of Griffin for those of MQA, by seed: "
         "900 for 500; 900 for 500; 900 for 500; median ratio 1.80"),
        ("undecided", "8 in 64: steps of Hawk for those of MQA, by seed: "
         "900 for 500; 900 for 500; 900 for 500; median ratio 1.80"),
    ]  # fmt: skip


def test_a_family_that_has_not_got_there_needs_more_than_all_steps():
    verdicts = words({"MQA": 500, "Griffin": 500, "Hawk": math.inf})
    assert [verdict.word for verdict in verdicts] == ["not reproduced", "reproduced", "reproduced"]
    assert "more than 3,000 for 500" in verdicts[2].evidence
    # 3,000 of 2,000 steps is less than twice as many.
    assert words({"MQA": 1900, ("MQA", "4 in 32"): 500, "Griffin": 1900, "Hawk": math.inf})[2].word == "undecided"


def test_some_seeds_are_partly():
    assert words({"MQA": 400, "Griffin": 500, "Hawk": 1000, ("Griffin", 1): 900})[1].word == "partly"


def test_the_easier_rung_is_judged_where_the_transformer_solves_no_other():
    steps = {"MQA": 400, ("MQA", 1, "8 in 64"): math.inf, "Griffin": 500, "Hawk": 1000}
    assert [verdict.evidence[:8] for verdict in words(steps)] == 3 * ["4 in 32:"]


def test_a_rung_is_judged_with_all_seeds_or_not_at_all():
    table = made_up.carried_out(selective_copying, "small", (0, 1), lambda run: 500)
    last = table.trials(setting="8 in 64")[-1].run
    shorter = Table(row for row in table.rows if row.run != last)
    assert [selective_copying.judged(each)[0] for each in (table, shorter)] == ["8 in 64", "4 in 32"]
    # The last has one seed.
    assert {trial.seed for trial in table.trials(setting="16 in 128")} == {0}


def test_nothing_is_decided_where_the_transformer_learns_nothing():
    verdicts = words({"MQA": math.inf, "Griffin": 500, "Hawk": 1000})
    assert [verdict.word for verdict in verdicts] == 3 * ["undecided"]


def test_rows_are_stretched_with_the_same_tokens():
    run = selective_copying.plan("small", (0,), Table())[0]
    one, four = (selective_copying.make_batch(run, 3, 0, stretch) for stretch in (1, 4))
    assert one.token_ids.shape == (3, 36) and four.token_ids.shape == (3, 132)
    assert np.array_equal(one.weights.sum(axis=1), four.weights.sum(axis=1))
    assert run.config.window == 18


@pytest.mark.parametrize(
    ("pattern", "parameters", "layers"), [("global_mqa", 239_808, 5), (None, 266_688, 1), ("recurrent", 273_408, 0)]
)
def test_the_models_have_the_papers_size(pattern, parameters, layers):
    config = selective_copying.plan("small", (0,), Table())[0].config
    config = config if pattern is None else config.replace(block_pattern=(pattern,))
    assert config.parameter_count() == parameters
    # Both kinds of attention see 18 keys of a row of 36: half a row, on average, and the window.
    assert training_flops(config, 36) == 6 * parameters + layers * 12 * 18 * 64
