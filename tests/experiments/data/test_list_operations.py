import re
import statistics

import numpy as np
import pytest

from experiments.data.list_operations import LIST_OPERATIONS_TOKENS, list_operations

pytestmark = pytest.mark.any_backend

OPERATIONS = {
    "MIN": min,
    "MAX": max,
    "MED": lambda values: int(statistics.median(values)),
    "SM": lambda values: sum(values) % 10,
}


def text(token_ids):
    return " ".join(LIST_OPERATIONS_TOKENS[token] for token in token_ids).rstrip()


def solve(expression):
    """The value, from the text alone: the innermost lists are replaced by theirs until nothing else is left."""
    while "[" in expression:
        expression = re.sub(
            r"\[([A-Z]+)((?: \d)+) \]",
            lambda found: str(OPERATIONS[found[1]]([int(digit) for digit in found[2].split()])),
            expression,
        )
    return int(expression)


def depth(expression):
    brackets = [{"[": 1, "]": -1}.get(character, 0) for character in expression]
    return max(np.cumsum(brackets))


#: The length, the least length, the depth and the values of a list.
CASES = [(128, 100, 4, 5), (8, 5, 1, 5), (40, 5, 2, 2), (2000, 500, 10, 10), (5, 5, 3, 2)]


@pytest.mark.parametrize("sizes", CASES)
def test_the_tokens_alone_give_the_answer(sizes):
    length, least, deepest, most = sizes
    batch = list_operations(20, length, min_length=least, max_depth=deepest, max_arguments=most, seed=7)
    for token_ids, targets, weights in zip(*batch, strict=True):
        (due,) = np.flatnonzero(weights)
        assert LIST_OPERATIONS_TOKENS[token_ids[due]] == "=" and not token_ids[due + 1 :].any()
        assert LIST_OPERATIONS_TOKENS[targets[due]] == str(solve(text(token_ids[:due])))
        assert np.count_nonzero(targets) == 1
        assert least <= due + 1 <= length and 1 <= depth(text(token_ids)) <= deepest


def test_the_row_of_the_docstring():
    row = "[MAX 2 [SM 7 8 ] 4 ] ="
    token_ids = [LIST_OPERATIONS_TOKENS.index(token) for token in row.split()]
    assert f"{row}            length 12" in list_operations.__doc__ and solve(row.removesuffix(" =")) == 5
    assert " ".join(map(str, token_ids)) in re.sub(" +", " ", list_operations.__doc__)
    assert LIST_OPERATIONS_TOKENS.index("5") == 6 and len(LIST_OPERATIONS_TOKENS) == 17


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "list_operations: batch_size must be an integer of at least 1. Got 0."),
        ({"length": 4}, "list_operations: length must be an integer of at least 5. Got 4."),
        ({"min_length": 16.0}, "list_operations: min_length must be an integer of at least 5. Got 16.0."),
        ({"max_depth": 0}, "list_operations: max_depth must be an integer of at least 1. Got 0."),
        ({"max_arguments": 1}, "list_operations: max_arguments must be an integer of at least 2. Got 1."),
        (
            {"max_depth": 1},
            "list_operations: lists of min_length to length tokens must not be rare. Got min_length 16, length 128, "
            "max_depth 1 and max_arguments 5, and none in 2,000 lists.",
        ),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        list_operations(**{"batch_size": 1, **arguments})
    assert str(error.value) == message
