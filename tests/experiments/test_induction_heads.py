import pytest

from experiments import induction_heads
from experiments.harness.table import Table
from tests.experiments import made_up

pytestmark = pytest.mark.any_backend


def verdicts(accuracy, seeds=(0, 1, 2)):
    """The verdicts of accuracies, a function of the family, the seed and the length in those of training."""

    def tests(run):
        for length in run.data["lengths"]:
            yield induction_heads.name(length), "test_accuracy", accuracy(run.family, run.seed, length / 32)

    table = made_up.carried_out(induction_heads, "small", seeds, lambda run: 900, tests)
    return [claim.judge(table) for claim in induction_heads.CLAIMS]


def as_in_the_paper(family, seed, times):
    return 1.0 if times <= 1 or family != "MQA" else 0.2


def test_the_papers_order_is_reproduced():
    found = verdicts(as_in_the_paper)
    assert [verdict.word for verdict in found] == 4 * ["reproduced"]
    assert "at 4 times the length 20.0, 20.0, 20.0" in found[1].evidence


def test_half_of_a_claim_is_partly():
    found = verdicts(lambda family, seed, times: 0.5 if family == "Hawk" and times > 64 else 1.0)
    assert [verdict.word for verdict in found] == ["reproduced", "not reproduced", "partly", "reproduced"]


def test_a_model_that_has_not_learnt_the_task_decides_nothing():
    found = verdicts(lambda family, seed, times: 0.07 if family == "MQA" else 1.0)
    assert [verdict.word for verdict in found] == ["not reproduced", "undecided", "reproduced", "reproduced"]
    assert [verdict.word for verdict in verdicts(lambda *_: 0.07)] == 4 * ["undecided"]


def test_one_seed_of_three_that_fails_is_partly():
    found = verdicts(lambda family, seed, times: 0.8 if (family, seed) == ("Griffin", 1) and times > 1 else 1.0)
    assert found[3].word == "partly"


def test_the_transformer_is_tested_up_to_a_shorter_length():
    runs = {run.family: run for run in induction_heads.plan("small", (0,), Table())}
    assert {family: max(run.data["lengths"]) for family, run in runs.items()} == {
        "MQA": 1024,
        "Griffin": 8192,
        "Hawk": 8192,
    }
    assert {run.config.window for run in runs.values()} == {16}
    assert induction_heads.make_batch(runs["MQA"], 2, 0, 128).token_ids.shape == (2, 128)
    assert induction_heads.length_of(induction_heads.name(16_384)) == 16_384
