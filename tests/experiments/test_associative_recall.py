import pytest

from experiments import associative_recall
from experiments.associative_recall import WHOLE
from experiments.harness.table import Table
from experiments.harness.training import TRAINING
from tests.experiments.harness import made_up

pytestmark = pytest.mark.any_backend

FOUND = {"MQA": (0.995, 0.99), "Griffin": (0.99, 0.9), "Hawk": (0.95, 0.7), WHOLE: (1.0, 1.0)}


def table(found=FOUND):
    """Accuracies of each family at a width of 64 and of 32."""

    def tests(run):
        yield run.setting, "test_accuracy", found[run.family][run.config.width == 32] + 0.001 * run.seed
        yield run.setting, "state_bytes", 1000

    return made_up.carried_out(associative_recall, "small", (0, 1, 2), made_up.soonest_at(2e-3), tests)


def words(found):
    return [claim.judge(found).word for claim in associative_recall.CLAIMS]


def test_what_others_found_is_reproduced():
    found = table()
    assert words(found) == ["reproduced"] * 3
    assert associative_recall.CLAIMS[2].judge(found).ours == "+0.200 of the answers at width 32, less Hawk's"


def test_what_turns_out_otherwise_is_not_reproduced():
    assert words(table({**FOUND, "MQA": (0.5, 0.5), "Hawk": (0.7, 0.95)})) == ["not reproduced"] * 3
    # Nobody has learnt it.
    assert words(table(dict.fromkeys(FOUND, (0.3, 0.3))))[0] == "undecided"
    assert words(table({**FOUND, "Hawk": (1.0, 1.0)}))[1] == "undecided"


def test_rows_are_shorter_in_the_first_quarter_of_the_steps():
    run = associative_recall.plan("small", (0,), Table())[0]
    shapes = [associative_recall.make_batch(run, 64, seed).token_ids.shape for seed in (5, TRAINING, TRAINING + 1000)]
    assert shapes == [(64, 64), (128, 32), (64, 64)]
