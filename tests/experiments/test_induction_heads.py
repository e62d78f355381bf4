"""What the synthetic experiments make of their settings: the rows of a step, and the measures of a course."""

import dataclasses

import pytest

from experiments import induction_heads
from experiments.harness.table import Table
from experiments.harness.training import TRAINING, VALIDATION
from tests.experiments.harness import made_up

pytestmark = pytest.mark.any_backend


def test_induction_rows_become_longer_and_every_batch_has_as_many_tokens():
    run = dataclasses.replace(induction_heads.plan("small", (0,), Table())[0], seed=1)
    shapes = {}
    for step in range(0, run.steps, 100):
        batch = induction_heads.make_batch(run, run.batch_size, 2 * TRAINING + step)
        assert batch.token_ids.size == 2048
        shapes.setdefault(batch.token_ids.shape, step)
    assert shapes == {(64, 32): 0, (32, 64): 600, (16, 128): 900, (8, 256): 1200}
    # Validation and tests have the lengths that they are asked for.
    assert induction_heads.make_batch(run, 8, VALIDATION).token_ids.shape == (8, 256)
    assert induction_heads.make_batch(run, 8, TRAINING, 1024).token_ids.shape == (8, 1024)


def test_only_the_short_training_goes_on_and_only_the_long_one_reads_the_longest_rows():
    table = made_up.carried_out(induction_heads, "small", (0, 1), lambda run: 500 if run.learning_rate == 2e-3 else 600)
    runs = induction_heads.plan("small", (0, 1), table)
    for run in runs:
        is_short, longest = run.steps == 2000, run.data["lengths"][-1]
        assert run.data["further_steps"] == (500 if is_short and run.family != "MQA" else 0)
        assert longest == (2048 if run.family == "MQA" else 16_384 if is_short else 65_536)
    assert {(run.steps, run.seed) for run in runs} == {(2000, 0), (2000, 1), (20_000, 0), (20_000, 1)}


def test_the_long_training_is_judged_once_all_seeds_have_finished_it_and_the_other_is_told():

    def tests(run):
        for length in run.data["lengths"]:
            yield induction_heads.at(length), "test_accuracy", 1.0 if run.steps == 20_000 or length == 256 else 0.25

    soonest = made_up.soonest_at(2e-3)
    table = made_up.carried_out(induction_heads, "small", (0, 1, 2), soonest, tests)
    later = {trial.run for trial in table.trials() if "20,000 steps" in trial.setting and trial.seed}
    few = Table(row for row in table.rows if row.run not in later)
    found = [claim.judge(few) for claim in induction_heads.CLAIMS]
    assert [each.word for each in found] == ["reproduced", "reproduced", "not reproduced", "not reproduced"]
    assert "20,000 steps: 100.0 and 100.0" in found[1].evidence
    all_of_them = [claim.judge(table) for claim in induction_heads.CLAIMS]
    assert [each.word for each in all_of_them][1:] == ["not reproduced", "reproduced", "reproduced"]
    assert "; 2,000 steps: 25.0, 25.0, 25.0 and 25.0, 25.0, 25.0" in all_of_them[1].evidence
