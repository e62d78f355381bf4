import sys

import numpy as np
import pytest

from experiments.data import digits
from experiments.data.digits import GREYS, HELD_OUT, digits_batch
from experiments.harness.training import TESTING, TRAINING, VALIDATION

pytestmark = pytest.mark.any_backend


@pytest.fixture
def images(monkeypatch):
    """Images that all of their pixels number, in place of scikit-learn's."""
    numbers = np.arange(1797)
    found = np.repeat(numbers[:, None], 64, axis=1).astype("int32"), (numbers % 10).astype("int32")
    monkeypatch.setattr(digits, "digits", lambda: found)


def test_the_digit_is_asked_after_the_last_pixel(images):
    batch = digits_batch(5, TRAINING + 3)
    assert [array.shape for array in batch] == 3 * [(5, 64)]
    np.testing.assert_array_equal(batch.targets[:, -1], GREYS + batch.token_ids[:, 0] % 10)
    assert (batch.targets[:, :-1] == 0).all() and batch.weights.sum(axis=1).tolist() == 5 * [1]


def test_each_part_has_its_own_images_and_is_gone_through_once(images):
    parts = [
        np.concatenate([digits_batch(32, first + place).token_ids[:, 0] for place in range(HELD_OUT // 32)])
        for first in (VALIDATION, TESTING)
    ]
    assert [sorted(part) for part in parts] == [[*range(HELD_OUT)], [*range(HELD_OUT, 2 * HELD_OUT)]]
    drawn = {number for step in range(200) for number in digits_batch(32, TRAINING + step).token_ids[:, 0]}
    assert min(drawn) == 2 * HELD_OUT and max(drawn) == 1796


def test_the_images_are_those_of_scikit_learn():
    pytest.importorskip("sklearn")
    images, labels = digits.digits()
    assert images.shape == (1797, 64) and (images.min(), images.max()) == (0, GREYS - 1)
    assert set(labels) == set(range(10)) and np.bincount(labels[:HELD_OUT]).min() > 15


def test_without_scikit_learn_there_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    digits.digits.cache_clear()
    with pytest.raises(SystemExit, match="pip install scikit-learn"):
        digits.digits()
