import numpy as np
import pytest

from keras_griffin.tasks import induction_heads

pytestmark = pytest.mark.any_backend


def solve(row):
    """The tokens that followed the row's last token where it came before, read without knowing how the row was made."""
    tokens = row.tolist()
    return [after for token, after in zip(tokens[:-1], tokens[1:], strict=True) if token == tokens[-1]]


@pytest.mark.parametrize(("length", "vocabulary_size"), [(3, 3), (8, 16), (256, 16), (4096, 16)])
def test_the_tokens_alone_give_one_answer(length, vocabulary_size):
    batch = induction_heads(30, length, vocabulary_size=vocabulary_size, seed=5)
    for row, token_ids in enumerate(batch.token_ids):
        assert solve(token_ids) == [batch.targets[row, -1]]
        assert np.flatnonzero(batch.weights[row]).tolist() == [length - 1]


@pytest.mark.parametrize(("length", "vocabulary_size"), [(3, 3), (20, 6)])
def test_every_token_but_the_special_one_is_an_answer(length, vocabulary_size):
    batch = induction_heads(60, length, vocabulary_size=vocabulary_size)
    assert set(np.unique(batch.token_ids)) == set(range(vocabulary_size))
    assert set(batch.targets[:, -1]) == set(range(vocabulary_size - 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 1.5}, "induction_heads: batch_size must be an integer of at least 1. Got 1.5."),
        ({"length": 2}, "induction_heads: length must be an integer of at least 3. Got 2."),
        ({"vocabulary_size": 2}, "induction_heads: vocabulary_size must be an integer of at least 3. Got 2."),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        induction_heads(**{"batch_size": 1, **arguments})
    assert str(error.value) == message
