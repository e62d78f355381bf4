import numpy as np
import pytest

from keras_griffin.checks import (
    COUNT,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    checked,
    integer_from,
    is_integer,
    is_number,
    one_of,
    plain,
)
from keras_griffin.names import did_you_mean, nearest

pytestmark = pytest.mark.any_backend


def test_rules():
    assert checked("f", COUNT, x=np.int8(3)) == 3 and type(plain(np.int8(3))) is int
    assert checked("f", COUNT.or_none(), x=None) is None
    assert checked("f", NOT_NEGATIVE, x=0) == 0 and checked("f", FRACTION, x=1) == 1
    assert checked("f", FLAG, x=np.False_) is False and checked("f", POSITIVE, x=1e-300) == 1e-300
    with pytest.raises(ValueError, match=r"^f: rule must be one of a, b\. Got 'c'\.$"):
        checked("f", one_of(("a", "b")), rule="c")
    with pytest.raises(
        ValueError, match=r"^f: rule must be one of lru, s5, or None\. Got 'LRUs'; did you mean 'lru'\?$"
    ):
        checked("f", one_of(("lru", "s5")).or_none(), rule="LRUs")


@pytest.mark.parametrize(("value", "expected"), [(2, "in"), (np.uint8(2), "in"), (2.0, "n"), (True, ""), ("2", "")])
def test_kinds_of_numbers(value, expected):
    assert is_integer(value) == ("i" in expected) and is_number(value) == ("n" in expected)
    assert integer_from(2).holds(value) == ("i" in expected) and not integer_from(3).holds(value)


def test_the_nearest_names():
    names = ["griffin_100m", "griffin_200m", "hawk_100m", "mqa_100m"]
    assert nearest("griffin", names) == ["griffin_100m", "griffin_200m"]
    assert nearest("GRIFIN_100M", names, 1) == ["griffin_100m"]
    assert nearest("", names) == nearest("xyz", names) == [] and did_you_mean(3, names) == "."
