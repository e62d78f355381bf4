import numpy as np
import pytest
import scipy.stats

from experiments.harness.intervals import (
    RESAMPLES,
    Interval,
    contrast,
    deviation,
    in_short,
    interval,
    is_above,
    is_below,
    is_within,
    of_seeds,
    ratio,
    times,
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


def test_an_interval_leaves_out_a_fortieth_of_the_resampled_means_at_each_end():
    values = np.array([0.0, 0.0, 0.0, 8.0])
    draws = np.random.default_rng(0).integers(0, 4, size=(RESAMPLES, 4))
    ordered = np.sort([values[draw].mean() for draw in draws])
    found = interval(values)
    assert found.low == ordered[RESAMPLES // 40 - 1] == 0 and found.high == ordered[-RESAMPLES // 40] == 6


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-1, 1, True), (-3, -1, None), (1, 3, None), (-3, 3, None), (3, 4, False), (-4, -3, False)],
)
def test_a_difference_within_a_bound(low, high, word):
    assert is_within(Interval((low + high) / 2, low, high), 2) is word
    assert is_within(None, 2) is None


def test_a_difference_between_models_has_the_spread_of_seeds():
    rng = np.random.default_rng(0)
    groups = [rng.normal(place, 0.5, size=3) for place in range(40)]
    found = deviation(groups)
    assert found.freedom == 80 and abs(found.value - 0.5) < 0.06
    between = of_seeds(groups[1], groups[0], found)
    assert between.mean == groups[1].mean() - groups[0].mean()
    # As textbooks have it, for the spread of these two models alone.
    own = deviation(groups[:2])
    alone = of_seeds(groups[1], groups[0], own)
    test = scipy.stats.ttest_ind(groups[1], groups[0]).confidence_interval()
    np.testing.assert_allclose([alone.low, alone.high], [test.low, test.high])
    assert own.freedom == 4


def test_one_seed_each_says_nothing():
    found = deviation([[1.0], [2.0], []])
    assert found.freedom == 0 and of_seeds([1.0], [2.0], found) is None
    assert of_seeds([], [2.0], deviation([[1.0, 2.0]])) is None


def test_intervals_in_short_are_their_ends():
    several = [Interval(mean, mean - 1, mean + 1) for mean in (0.5, -0.25, 0.125)]
    assert in_short([None, *several], "nats") == "-0.250 to +0.500 nats"
    assert in_short(several[:1], "nats") == "+0.500 nats"
    assert in_short([None], "nats") == ""


def test_a_difference_of_differences_has_the_variance_of_all_its_means():
    groups = [np.array(base) + [-0.1, 0.0, 0.1] for base in (3.0, 1.0, 2.0, 1.5)]
    spread = deviation(groups)
    found = contrast(zip((1, -1, -1, 1), groups, strict=True), spread)
    half = scipy.stats.t.ppf(0.975, 8) * 0.1 * (4 / 3) ** 0.5
    np.testing.assert_allclose(found, [1.5, 1.5 - half, 1.5 + half])
    assert contrast([(1, groups[0]), (-1, [])], spread) is None


def test_a_ratio_is_a_difference_of_logarithms():
    one, other = np.array([2.0, 2.2, 1.8]), np.array([1.0, 1.1, 0.9])
    spread = deviation(np.log([one, other]))
    found = ratio(np.log(one), np.log(other), spread)
    assert times(found) == f"2.00 ({found.low:.2f} to {found.high:.2f})" and times(None) == "not compared"
    np.testing.assert_allclose(np.log(found), of_seeds(np.log(one), np.log(other), spread))
    assert is_above(found, 1.0) and is_below(found, 3.0) and is_below(found, found.high) is None
    assert ratio([], np.log(other), spread) is None
