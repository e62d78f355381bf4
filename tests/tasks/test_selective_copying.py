import numpy as np
import pytest

from keras_griffin.tasks import selective_copying

pytestmark = pytest.mark.any_backend


def solve(row, vocabulary_size):
    """By step, the answer that a reader of the tokens up to it gives, read without knowing how the row was made."""
    data, answers = [], {}
    for step, token in enumerate(row.tolist()):
        if token == vocabulary_size - 1:
            answers[step] = data[len(answers)]
        elif token != 0:
            data.append(token)
    return answers


@pytest.mark.parametrize(
    ("length", "num_tokens", "vocabulary_size"), [(1, 1, 3), (8, 8, 4), (32, 4, 16), (1024, 16, 16)]
)
def test_the_tokens_alone_give_the_answers(length, num_tokens, vocabulary_size):
    batch = selective_copying(20, length, num_tokens, vocabulary_size=vocabulary_size, seed=3)
    for row, token_ids in enumerate(batch.token_ids):
        answers = solve(token_ids, vocabulary_size)
        assert answers == {int(step): batch.targets[row, step] for step in np.flatnonzero(batch.weights[row])}
        assert list(answers) == list(range(length, length + num_tokens))
        assert np.count_nonzero(token_ids[:length]) == num_tokens


@pytest.mark.parametrize(("length", "num_tokens", "vocabulary_size"), [(1, 1, 3), (30, 5, 7)])
def test_every_token_occurs_and_markers_are_never_data(length, num_tokens, vocabulary_size):
    token_ids = selective_copying(40, length, num_tokens, vocabulary_size=vocabulary_size).token_ids
    assert set(np.unique(token_ids[:, :length])) - {0} == set(range(1, vocabulary_size - 1))
    assert set(np.unique(token_ids[:, length:])) == {vocabulary_size - 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "selective_copying: batch_size must be an integer of at least 1. Got 0."),
        ({"length": 2.0}, "selective_copying: length must be an integer of at least 1. Got 2.0."),
        ({"num_tokens": True}, "selective_copying: num_tokens must be an integer of at least 1. Got True."),
        ({"vocabulary_size": 2}, "selective_copying: vocabulary_size must be an integer of at least 3. Got 2."),
        (
            {"length": 4, "num_tokens": 5},
            "selective_copying: num_tokens must be at most length. Got num_tokens 5 and length 4.",
        ),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        selective_copying(**{"batch_size": 1, **arguments})
    assert str(error.value) == message
