import numpy as np
import pytest

from experiments.data.associative_recall import associative_recall

pytestmark = pytest.mark.any_backend


def solve(row, vocabulary_size):
    """By step, all answers that a reader of the tokens up to it can give, without knowing how the row was made."""
    followers, answers = {}, {}
    tokens = row.tolist()
    for step, token in enumerate(tokens):
        if 0 < token < vocabulary_size // 2 and token in followers:
            answers[step] = set(followers[token])
        if step:
            followers.setdefault(tokens[step - 1], []).append(token)
    return answers


CASES = [(4, 1, 4), (17, 3, 9), (64, 4, 64), (256, 64, 256), (256, 16, 8192)]


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(("length", "num_pairs", "vocabulary_size"), CASES)
def test_the_tokens_alone_give_one_answer_to_every_key(length, num_pairs, vocabulary_size, held):
    batch = associative_recall(20, length, num_pairs, vocabulary_size=vocabulary_size, answers=held, seed=7)
    for row, token_ids in enumerate(batch.token_ids):
        answers = solve(token_ids, vocabulary_size)
        assert answers == {int(step): {batch.targets[row, step]} for step in np.flatnonzero(batch.weights[row])}
        assert len(answers) == num_pairs and min(answers) >= 2 * num_pairs
        # Each pair is asked for, and the answer stands behind its key or nowhere.
        pairs = {tuple(token_ids[step : step + 2]) for step in range(0, 2 * num_pairs, 2)}
        assert {(token_ids[step], *answer) for step, answer in answers.items()} == pairs
        behind = {step + 1: {int(token_ids[step + 1])} for step in answers}
        assert behind == {step: answers[step - 1] if held else {0} for step in behind}


@pytest.mark.parametrize(("length", "num_pairs", "vocabulary_size"), CASES)
def test_keys_and_values_are_distinct_and_within_their_bounds(length, num_pairs, vocabulary_size):
    token_ids = associative_recall(10, length, num_pairs, vocabulary_size=vocabulary_size, answers=True).token_ids
    keys, values = token_ids[:, : 2 * num_pairs : 2], token_ids[:, 1 : 2 * num_pairs : 2]
    assert keys.min() >= 1 and keys.max() < vocabulary_size // 2
    assert values.min() >= vocabulary_size // 2 and values.max() < vocabulary_size
    for tokens in (*keys, *values):
        assert len(set(tokens)) == num_pairs
    # Beside the pairs, twice, there is only the filler.
    assert (np.count_nonzero(token_ids, axis=1) == 4 * num_pairs).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "associative_recall: batch_size must be an integer of at least 1. Got 0."),
        ({"length": "8"}, "associative_recall: length must be an integer of at least 1. Got '8'."),
        ({"num_pairs": 0}, "associative_recall: num_pairs must be an integer of at least 1. Got 0."),
        ({"vocabulary_size": 3}, "associative_recall: vocabulary_size must be an integer of at least 4. Got 3."),
        ({"power": 0}, "associative_recall: power must be a positive finite number. Got 0."),
        ({"answers": 1}, "associative_recall: answers must be True or False. Got 1."),
        (
            {"length": 15, "num_pairs": 4},
            "associative_recall: length must be at least 4 for each pair. Got length 15 and num_pairs 4.",
        ),
        (
            {"num_pairs": 4, "vocabulary_size": 9},
            "associative_recall: vocabulary_size must be at least 10 for distinct keys. "
            "Got vocabulary_size 9 and num_pairs 4.",
        ),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        associative_recall(**{"batch_size": 1, **arguments})
    assert str(error.value) == message
