"""Devices, and what their numbers say."""

import pytest

from keras_griffin.inspection import Device, decode_table

pytestmark = pytest.mark.any_backend


def test_the_batch_at_which_arithmetic_takes_as_long_as_memory():
    # 3 bytes a second and 12 operations: a parameter of 2 bytes takes 2 / 3 s to read and 2 / 12 s for each row.
    assert Device("a", 1, 3, 12).memory_bound_batch(2) == 4
    assert Device("a", 1, 3, 11.9).memory_bound_batch(2) == 3
    assert Device("a", 1, 3, 12).memory_bound_batch(4) == 8
    assert Device("a", 1, 3).memory_bound_batch(2) == 128


@pytest.mark.parametrize("field", ["memory_bytes", "bytes_per_second", "operations_per_second"])
def test_numbers_are_positive(field):
    numbers = {"memory_bytes": 1, "bytes_per_second": 1, "operations_per_second": 1, field: 0}
    with pytest.raises(ValueError, match=rf"^Device: {field} must be positive\. Got 0 for 'a'\.$"):
        Device("a", **numbers)


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match=r"^decode_table: device must be .* Got None\.$"):
        decode_table(None)
