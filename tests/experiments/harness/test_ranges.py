import math

import pytest

from experiments.harness.ranges import Range, all_hold, is_less

pytestmark = pytest.mark.any_backend


def test_ranges_that_overlap_decide_nothing():
    assert is_less(Range(1, 0.9, 1.1), Range(1.2, 1.11, 1.3)) is True
    assert is_less(Range(1.2, 1.11, 1.3), Range(1, 0.9, 1.1)) is False
    assert is_less(Range(1, 0.9, 1.1), Range(1.05, 1.0, 1.3)) is None
    assert is_less(Range(math.nan, math.nan, math.nan), Range(1, 1, 1)) is None
    assert [all_hold(True, other) for other in (True, False, None)] == [True, False, None]
    assert all_hold(None, False) is False and all_hold() is None
    assert Range(2, 1, 3).over(Range(4, 2, 5)) == (0.5, 0.2, 1.5)
