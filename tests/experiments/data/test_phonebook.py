import numpy as np
import pytest

from experiments.data.phonebook import PHONEBOOK_CHARACTERS, phonebook

pytestmark = pytest.mark.any_backend


def text(token_ids):
    return "".join(PHONEBOOK_CHARACTERS[token] for token in token_ids)


def solve(row):
    """By step, the next character wherever an earlier line tells it, read without knowing how the row was made."""
    known, line, answers = [], "", {}
    for step, character in enumerate(text(row)):
        line += character
        if ":" in line and not line.endswith("\n"):
            told = {other[len(line)] for other in known if other.startswith(line)}
            if told and told != {"\n"}:
                answers[step] = told
        if character == "\n":
            known.append(line)
            line = ""
    return answers


CASES = [(1, 1, 1, 1), (2, 1, 3, 4), (13, 4, 1, 3), (24, 4, 3, 4), (81, 2, 3, 4)]


@pytest.mark.parametrize("sizes", CASES)
def test_the_tokens_alone_give_one_answer_to_every_digit(sizes):
    names, numbers = sizes[2:]
    batch = phonebook(20, *sizes[:2], name_length=names, number_length=numbers, seed=7)
    for row, token_ids in enumerate(batch.token_ids):
        due = np.flatnonzero(batch.weights[row])
        expected = {int(step): {PHONEBOOK_CHARACTERS[batch.targets[row, step]]} for step in due}
        assert solve(token_ids) == expected
        # A target is the next token.
        assert (batch.targets[row, due] == token_ids[due + 1]).all()
        assert len(due) == sizes[1] * numbers


def test_names_are_distinct_and_lookups_are_lines_of_the_book():
    batch = phonebook(50, 12, 3)
    for row in batch.token_ids:
        lines = text(row).splitlines()
        book, lookups = lines[:12], lines[12:]
        assert len({line.partition(":")[0] for line in book}) == 12
        assert set(lookups) <= set(book) and len(lookups) == 3
    # Every letter and every digit occurs.
    assert set(text(batch.token_ids.ravel())) == set(PHONEBOOK_CHARACTERS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "phonebook: batch_size must be an integer of at least 1. Got 0."),
        ({"num_entries": 2.5}, "phonebook: num_entries must be an integer of at least 1. Got 2.5."),
        ({"num_lookups": 0}, "phonebook: num_lookups must be an integer of at least 1. Got 0."),
        (
            {"num_entries": 14, "name_length": 1},
            "phonebook: there must be two names for each entry. "
            "Got num_entries 14 and name_length 1, which makes 26 names.",
        ),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        phonebook(**{"batch_size": 1, **arguments})
    assert str(error.value) == message
