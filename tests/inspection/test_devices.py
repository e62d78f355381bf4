"""Devices, and what their numbers say."""

import pytest

from keras_griffin.inspection import Device, decode_table
from keras_griffin.inspection.devices import DEVICES

pytestmark = pytest.mark.any_backend


def test_the_batch_at_which_arithmetic_takes_as_long_as_memory():
    # 3 bytes a second and 12 operations: a parameter of 2 bytes takes 2 / 3 s to read and 2 / 12 s for each row.
    assert Device("a", 1, 3, 12).memory_bound_batch(2) == 4
    assert Device("a", 1, 3, 11.9).memory_bound_batch(2) == 3
    assert Device("a", 1, 3, 12).memory_bound_batch(4) == 8
    assert Device("a", 1, 3).memory_bound_batch(2) == 128


def test_the_paper_s_balance():
    """Table 3 and appendix D.1 of the paper: 136 operations a byte."""
    assert DEVICES["tpu_v3"].memory_bound_batch(2) == 136


@pytest.mark.parametrize("field", ["memory_bytes", "bytes_per_second", "operations_per_second"])
def test_numbers_are_positive(field):
    numbers = {"memory_bytes": 1, "bytes_per_second": 1, "operations_per_second": 1, field: 0}
    with pytest.raises(ValueError, match=rf"^Device: {field} must be positive\. Got 0 for 'a'\.$"):
        Device("a", **numbers)


def test_an_unknown_device_names_the_nearest():
    message = (
        r"^decode_table: device must be a Device or one of the names tpu_v3, .* Got 'tpu_v4'; did you mean 'tpu_v3'\?$"
    )
    with pytest.raises(ValueError, match=message):
        decode_table("tpu_v4")
    with pytest.raises(ValueError, match=r"^decode_table: device must be .* Got None\.$"):
        decode_table(None)
