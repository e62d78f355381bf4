import itertools

import numpy as np
import pytest

from keras_griffin.generation.uniform import uniform_numbers

pytestmark = pytest.mark.any_backend


def numbers(seed, batch_size, steps=5):
    return np.stack(list(itertools.islice(uniform_numbers("generate", seed, batch_size), steps)), axis=1)


def test_a_row_draws_by_the_seed_and_its_index_alone():
    np.testing.assert_array_equal(numbers(7, 4)[:2], numbers(7, 2))
    assert len(np.unique(numbers(7, 4))) == 20
    assert not np.any(numbers(7, 2) == numbers(8, 2))
    assert numbers(2**64 - 1, 1).dtype == "float32"


def test_the_numbers_of_a_seed_never_change():
    expected = [[0.034741878509521484, 0.011546730995178223], [0.9751253724098206, 0.8133540153503418]]
    np.testing.assert_array_equal(numbers(0, 2, steps=2), np.array(expected, "float32"))


def test_without_a_seed_every_call_draws_others():
    assert not np.any(numbers(None, 2) == numbers(None, 2))


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, "0"])
def test_a_wrong_seed_gets_one_sentence(seed):
    with pytest.raises(ValueError) as error:
        uniform_numbers("generate", seed, 2)
    assert str(error.value) == f"generate: the seed must be None or an integer from 0 to 2**64 - 1. Got {seed!r}."
