import numpy as np
import pytest

from keras_griffin.tasks import (
    associative_recall,
    induction_heads,
    list_operations,
    phonebook,
    selective_copying,
)
from keras_griffin.tasks.seeds import generator

pytestmark = pytest.mark.any_backend


def test_one_number_or_several_are_a_seed():
    seeds = [0, 7, np.int64(9), (7,), (7, 0), (7, 0, 0), (0, 7), [1, 2, 3]]
    drawn = {generator("task", seed).integers(2**60) for seed in seeds}
    assert len(drawn) == len(seeds)
    assert generator("task", 7).integers(2**60) == np.random.default_rng(7).integers(2**60)
    assert generator("task", [7, 0]).integers(2**60) == generator("task", (7, 0)).integers(2**60)


@pytest.mark.parametrize(
    "task",
    [
        lambda seed: induction_heads(2, 32, seed=seed),
        lambda seed: selective_copying(2, 32, 4, seed=seed),
        lambda seed: associative_recall(2, 32, 4, seed=seed),
        lambda seed: phonebook(2, 4, seed=seed),
        lambda seed: list_operations(2, 32, seed=seed),
    ],
)
def test_rows_of_every_batch_of_every_epoch_are_their_own_and_come_again(task):
    batches = [task((0, epoch, batch)).token_ids for epoch in range(3) for batch in range(3)]
    assert len({row.tobytes() for batch in batches for row in batch}) == 18
    assert all(np.array_equal(one, other) for one, other in zip(task((0, 0, 0)), task((0, 0, 0)), strict=True))


@pytest.mark.parametrize("seed", [None, -1, 1.0, "1", True, (), (0, -1), (0, None), np.arange(2)])
def test_nothing_else_is(seed):
    with pytest.raises(ValueError, match="^task: seed must be an integer of at least 0, or a list of such. Got"):
        generator("task", seed)
