import numpy as np
import pytest

from keras_griffin.tasks.seeds import generator

pytestmark = pytest.mark.any_backend


def test_one_number_or_several_are_a_seed():
    seeds = [0, 7, np.int64(9), (7,), (7, 0), (7, 0, 0), (0, 7), [1, 2, 3]]
    drawn = {generator("task", seed).integers(2**60) for seed in seeds}
    assert len(drawn) == len(seeds)
    assert generator("task", 7).integers(2**60) == np.random.default_rng(7).integers(2**60)
    assert generator("task", [7, 0]).integers(2**60) == generator("task", (7, 0)).integers(2**60)


@pytest.mark.parametrize("seed", [None, -1, 1.0, "1", True, (), (0, -1), (0, None), np.arange(2)])
def test_nothing_else_is(seed):
    with pytest.raises(ValueError, match="^task: seed must be an integer of at least 0, or a list of such. Got"):
        generator("task", seed)
