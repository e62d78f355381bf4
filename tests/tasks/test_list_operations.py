import re
import statistics

import numpy as np
import pytest

from keras_griffin.tasks import LIST_OPERATIONS_TOKENS, TaskBatch, list_operations

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
CASES = [
    (128, 16, 4, 5),
    (128, 100, 4, 5),
    (8, 5, 1, 5),
    (40, 5, 2, 2),
    (200, 5, 100, 12),
    (2000, 500, 10, 10),
    (5, 5, 3, 2),
]


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


def test_the_solver_knows_the_operations():
    assert [solve(f"[{name} 9 4 [SM 8 9 ] 2 ]") for name in ("MIN", "MAX", "MED", "SM")] == [2, 9, 5, 2]
    assert solve("[MED 9 1 2 ]") == 2


def test_the_row_of_the_docstring():
    row = "[MAX 2 [SM 7 8 ] 4 ] ="
    token_ids = [LIST_OPERATIONS_TOKENS.index(token) for token in row.split()]
    assert f"{row}            length 12" in list_operations.__doc__ and solve(row.removesuffix(" =")) == 5
    assert " ".join(map(str, token_ids)) in re.sub(" +", " ", list_operations.__doc__)
    assert LIST_OPERATIONS_TOKENS.index("5") == 6 and len(LIST_OPERATIONS_TOKENS) == 17


def test_shapes_dtypes_and_all_that_may_occur_occurs():
    batch = list_operations(300)
    assert isinstance(batch, TaskBatch)
    assert [array.shape for array in batch] == 3 * [(300, 128)]
    assert [str(array.dtype) for array in batch] == ["int32", "int32", "float32"]
    assert set(np.unique(batch.token_ids)) == set(range(len(LIST_OPERATIONS_TOKENS)))
    assert set(batch.targets[batch.weights > 0]) == set(range(1, 11))
    rows = [text(token_ids) for token_ids in batch.token_ids]
    assert {depth(row) for row in rows} == {2, 3, 4}
    innermost = {len(found.split()) for row in rows for found in re.findall(r"\[[A-Z]+((?: \d)+) \]", row)}
    assert innermost == {2, 3, 4, 5}


def test_what_is_drawn_has_the_shares_that_are_named():
    """With two values and a depth of two, all lists have a size that is allowed."""
    rows = list_operations(8000, 20, min_length=5, max_depth=2, max_arguments=2).token_ids
    first, second = rows[:, 0] - 11, rows[:, 1]
    # Four standard deviations.
    assert np.abs(np.bincount(first, minlength=4) / 8000 - 1 / 4).max() < 4 * np.sqrt(1 / 4 / 8000)
    assert abs((second > 10).mean() - 3 / 4) < 4 * np.sqrt(3 / 16 / 8000)
    digits = second[second <= 10] - 1
    assert np.abs(np.bincount(digits, minlength=10) / len(digits) - 1 / 10).max() < 4 * np.sqrt(1 / 10 / len(digits))


def test_a_seed_gives_the_same_rows_again_and_another_gives_others():
    first, again, other = (list_operations(4, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first.token_ids, other.token_ids)
    assert len({row.tobytes() for row in first.token_ids}) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "list_operations: batch_size must be an integer of at least 1. Got 0."),
        ({"length": 4}, "list_operations: length must be an integer of at least 5. Got 4."),
        ({"min_length": 16.0}, "list_operations: min_length must be an integer of at least 5. Got 16.0."),
        ({"max_depth": 0}, "list_operations: max_depth must be an integer of at least 1. Got 0."),
        ({"max_arguments": 1}, "list_operations: max_arguments must be an integer of at least 2. Got 1."),
        ({"seed": -1}, "list_operations: seed must be an integer of at least 0, or a list of such. Got -1."),
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
