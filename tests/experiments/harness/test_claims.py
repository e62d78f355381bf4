import pytest

from experiments.harness.claims import verdict

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(
    ("outcomes", "word"),
    [
        ([True, True, True], "reproduced"),
        ([True], "reproduced"),
        ([True, True, None], "partly"),
        ([True, None], "partly"),
        ([False, None], "not reproduced"),
        ([True, True, False], "partly"),
        ([True, False], "partly"),
        ([True, False, False], "not reproduced"),
        ([False, False, False], "not reproduced"),
        ([True, None, None], "undecided"),
        ([None, None], "undecided"),
        ([], "undecided"),
    ],
)
def test_the_word_follows_from_the_outcomes(outcomes, word):
    assert verdict(iter(outcomes), "numbers") == (word, "numbers")
