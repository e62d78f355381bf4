import itertools

import numpy as np
import pytest

from keras_griffin.training.data.first_fit import first_fit

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("open_rows", [1, 2, 32])
def test_every_piece_is_in_one_row_and_no_row_is_overfull(open_rows):
    lengths = np.random.default_rng(0).integers(1, 11, 500).tolist()
    rows = list(first_fit(lengths, 10, open_rows))
    assert sorted(itertools.chain(*rows)) == list(range(500))
    assert all(row == sorted(row) and 0 < sum(lengths[piece] for piece in row) <= 10 for row in rows)


def test_a_piece_goes_into_the_first_row_with_room():
    assert list(first_fit([6, 7, 4, 3, 2], capacity=10)) == [[0, 2], [1, 3], [4]]


def test_the_fullest_row_is_closed_where_no_more_may_be_open():
    assert list(first_fit([5, 7, 6, 3, 4], capacity=10, open_rows=2)) == [[1], [2, 4], [0, 3]]
