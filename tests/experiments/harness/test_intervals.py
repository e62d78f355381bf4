import numpy as np
import pytest

from experiments.harness.intervals import (
    RESAMPLES,
    Interval,
    interval,
    is_above,
    is_below,
    is_within,
    resampled,
    spread,
)

pytestmark = pytest.mark.any_backend


def test_an_interval_is_that_of_a_mean():
    values = np.random.default_rng(0).normal(1.0, 2.0, size=400)
    found = interval(values)
    assert found.mean == values.mean() and found == interval(values)
    np.testing.assert_allclose([found.low, found.high], values.mean() + np.array([-1, 1]) * 1.96 * 0.1, atol=0.02)


@pytest.mark.parametrize(("bound", "below", "above"), [(0.5, False, True), (1.5, None, None), (2.5, True, False)])
def test_a_bound_inside_the_interval_decides_nothing(bound, below, above):
    found = Interval(1.5, 1.0, 2.0)
    assert (is_below(found, bound), is_above(found, bound)) == (below, above)
    assert is_below(None, bound) is None and is_above(None, bound) is None


def test_all_rows_are_resampled_at_the_same_windows():
    values = np.random.default_rng(0).normal(size=(2, 3, 20))
    found = resampled(values)
    assert found.shape == (RESAMPLES, 2, 3)
    np.testing.assert_array_equal(found[:, 1, 2], resampled(values[1, 2]))
    # A mean of sums is the sum of means only where the draws are the same.
    np.testing.assert_allclose(resampled(values.sum(axis=0)), found.sum(axis=1))


def test_a_spread_holds_all_but_a_fortieth_at_each_end():
    assert spread(7.0, np.arange(1001.0)) == Interval(7.0, 25.0, 975.0)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-1, 1, True), (-3, -1, None), (1, 3, None), (-3, 3, None), (3, 4, False), (-4, -3, False)],
)
def test_a_difference_within_a_bound(low, high, word):
    assert is_within(Interval((low + high) / 2, low, high), 2) is word
    assert is_within(None, 2) is None
