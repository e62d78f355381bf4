import numpy as np
import pytest

from experiments.data.last_mark import last_mark

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("sizes", [(3, 2, 3), (5, 40, 5), (2, 256, 16)])
def test_every_step_asks_for_the_token_behind_the_latest_mark(sizes):
    rows, length, vocabulary_size = sizes
    batch = last_mark(rows, length, vocabulary_size=vocabulary_size, share=0.3, seed=1)
    for token_ids, targets, weights in zip(*batch, strict=True):
        latest = None
        for step, token in enumerate(token_ids):
            if step and token_ids[step - 1] == vocabulary_size - 1:
                latest = token
                assert latest < vocabulary_size - 1
            assert (weights[step], targets[step]) == ((0, 0) if latest is None else (1, latest))


def test_so_many_steps_are_marks():
    batch = last_mark(50, 1000, share=1 / 16)
    # Of those that may be one.
    assert np.mean(batch.token_ids == 15) == pytest.approx(1 / 17, rel=0.05)
    assert not last_mark(3, 20, share=0.0).weights.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 1}, "last_mark: length must be an integer of at least 2. Got 1."),
        ({"vocabulary_size": 2}, "last_mark: vocabulary_size must be an integer of at least 3. Got 2."),
        ({"share": 1.5}, "last_mark: share must be a number from 0 to 1. Got 1.5."),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        last_mark(**{"batch_size": 2, **arguments})
