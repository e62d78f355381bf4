import numpy as np
import pytest

from experiments.data.sinusoids import PERIODS, sinusoids

pytestmark = pytest.mark.any_backend


def test_answers_are_the_levels_some_steps_later():
    batch = sinusoids(20, length=40, levels=64, ahead=5, seed=3)
    longer = sinusoids(20, length=45, levels=64, ahead=5, seed=3)
    assert [array.shape for array in batch] == 3 * [
        (20, 40)
    ] and batch.token_ids.dtype == batch.targets.dtype == "int32"
    np.testing.assert_array_equal(batch.token_ids, longer.token_ids[:, :40])
    due = batch.weights > 0
    assert due[:, 20:].all() and not due[:, :20].any() and (batch.targets[~due] == 0).all()
    np.testing.assert_array_equal(batch.targets[due], longer.token_ids[:, 5:45][due])
    assert 0 <= batch.token_ids.min() < 5 and 58 < batch.token_ids.max() <= 63
    assert not np.array_equal(batch.token_ids, sinusoids(20, 40, 64, 5, seed=4).token_ids)


def test_a_row_is_a_sum_of_three_sinusoids_of_the_given_periods():
    rows = sinusoids(8, length=4096, levels=4096, ahead=1, seed=0).token_ids / 4095 * 2 - 1
    # By their spectrum, in a window whose side lobes vanish.
    spectrum = np.abs(np.fft.rfft(rows * np.blackman(4096)))
    for row in spectrum:
        peaks = np.flatnonzero((row[1:-1] > row[:-2]) & (row[1:-1] > row[2:]) & (row[1:-1] > 0.02 * row.max())) + 1
        # Two of nearly one period may be one peak.
        assert 1 <= len(peaks) <= 3 and (4096 / peaks >= PERIODS[0] * 0.98).all()
        assert (4096 / peaks <= PERIODS[1] * 1.02).all()
