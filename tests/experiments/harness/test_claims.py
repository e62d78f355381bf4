import pytest

from experiments.harness.claims import WORDS, Verdict, verdict

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(
    ("outcomes", "word"),
    [
        ([True, True], "reproduced"),
        ([True, None], "partly"),
        ([True, False], "partly"),
        ([False, None], "not reproduced"),
        ([True, False, False], "not reproduced"),
        ([True, None, None], "undecided"),
        ([], "undecided"),
    ],
)
def test_the_word_follows_from_the_outcomes(outcomes, word):
    assert verdict(iter(outcomes), "numbers", "one number") == Verdict(word, "numbers", "one number") and word in WORDS
