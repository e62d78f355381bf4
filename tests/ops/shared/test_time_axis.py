import keras
import numpy as np
import pytest

from keras_griffin.ops.shared import time_axis
from keras_griffin.testing.arrays import as_array


def test_whole_time_is_counted_from_its_first_step():
    assert time_axis.divided_rule("linear_scan") is None
    np.testing.assert_array_equal(as_array(time_axis.positions(3)), [0, 1, 2])
    marks = keras.ops.convert_to_tensor([[True, False, True], [False, False, True]])
    np.testing.assert_array_equal(as_array(time_axis.running_count(marks)), [[1, 1, 2], [0, 0, 1]])


def test_divided_time_is_a_matter_of_rules(monkeypatch):
    """What the rules give stands in `tests/distribution`."""
    monkeypatch.setattr(time_axis, "DIVIDED_RULES", {"positions": lambda length, axis_name: (length, axis_name)})
    with time_axis.time_along("time"):
        assert time_axis.is_divided()
        assert time_axis.positions(3) == (3, "time")
        with time_axis.time_along(None):
            np.testing.assert_array_equal(as_array(time_axis.positions(2)), [0, 1])
        with pytest.raises(ValueError) as error:
            time_axis.divided_rule("attention")
    assert str(error.value) == (
        "attention: an op must have a rule for time divided over devices, as positions have. "
        "Got 'attention' without one."
    )
    assert time_axis.divided_rule("positions") is None and not time_axis.is_divided()
