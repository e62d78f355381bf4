import pytest

from experiments import phonebook
from experiments.harness.table import Table
from experiments.harness.training import TESTING, TRAINING
from tests.experiments.harness import made_up

pytestmark = pytest.mark.any_backend

#: Of each family the share of right numbers: in a book of one, while the window holds it, in the longest of training
#: and beyond.
FOUND = {"MQA": (1.0, 1.0, 0.97, 0.1), "Griffin": (1.0, 1.0, 0.6, 0.3), "Hawk": (0.9, 0.1, 0.0, 0.0)}


def words(found):
    """The verdicts about such shares."""

    def tests(run):
        for entries in run.data["books"]:
            place = sum(entries > most for most in (1, 10, 24))
            yield phonebook.name(entries), "test_exact_match", found[run.family][place]

    table = made_up.carried_out(phonebook, "small", (0, 1, 2), made_up.soonest_at(2e-3), tests)
    return [claim.judge(table).word for claim in phonebook.CLAIMS]


def test_the_papers_curves_are_reproduced():
    assert words(FOUND) == ["reproduced"] * 3


def test_what_turns_out_otherwise_counts_against_a_claim():
    # Up to the longest book of training the Transformer is perfect, and Griffin while its window holds the book.
    assert words({"MQA": (1.0, 1.0, 0.97, 0.9), "Griffin": (1.0,) * 4, "Hawk": (1.0,) * 4}) == [
        *("partly", "partly", "not reproduced")
    ]
    # What no family has learnt decides nothing.
    assert words(dict.fromkeys(FOUND, (0.1,) * 4))[:2] == ["undecided"] * 2


def test_books_end_after_one_of_three_lengths_and_the_transformer_has_more_steps():
    runs = phonebook.plan("small", (0,), Table())
    assert {(run.family, run.steps) for run in runs} == {("MQA", 24_000), ("Griffin", 12_000), ("Hawk", 12_000)}
    shapes = [phonebook.make_batch(runs[0], 8, TRAINING + step).token_ids.shape for step in range(64)]
    assert set(shapes) == {(8, 9 * (held + 4)) for held in (8, 16, 24)}
    # Those of the tests have the sizes that are asked.
    held = {1: 8, 8: 8, 10: 16, 24: 24, 30: 81, 81: 81}
    for entries in held:
        batch = phonebook.make_batch(runs[0], 8, TESTING, entries=entries, lookups=1)
        assert batch.token_ids.shape == (8, 9 * (held[entries] + 4)) and batch.weights.sum() == 8 * 4
