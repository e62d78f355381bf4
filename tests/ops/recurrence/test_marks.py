"""Marks: their axis for the channels, and what they make of decay and inputs."""

import numpy as np
import pytest

from keras_griffin.ops.recurrence.marks import apply_marks, marks_of_steps, with_marks_applied
from keras_griffin.testing.arrays import as_array

RESET, MASK = np.array([[True, False, True, False]]), np.array([[True, True, False, False]])
DECAY, INPUTS = np.full((1, 4, 1), 0.5, "float32"), np.full((1, 4, 1), 3.0, "float32")


def test_marks_of_steps():
    marks = marks_of_steps(RESET, None)
    assert tuple(marks.reset.shape) == (1, 4, 1)
    assert marks.mask is None


@pytest.mark.parametrize("parts", [1, 2])
def test_a_masked_step_is_one_and_zero_whatever_else_it_is(parts):
    decay, inputs = apply_marks((DECAY,) * parts, (INPUTS,) * parts, marks_of_steps(RESET, MASK), "float32")
    np.testing.assert_array_equal(as_array(decay[0]).ravel(), [0.0, 0.5, 1.0, 1.0])
    np.testing.assert_array_equal(as_array(inputs[-1]).ravel(), [3.0, 3.0, 0.0, 0.0])
    if parts == 2:
        np.testing.assert_array_equal(as_array(decay[1]).ravel(), [0.0, 0.5, 0.0, 0.0])


def test_on_effective_casts_and_applies_the_marks():
    @with_marks_applied
    def linear_scan(decay, inputs, initial_state, forgotten, reverse):
        return decay, inputs

    start = (np.zeros((1, 1), "float32"),)
    decay, inputs = linear_scan((DECAY,), (INPUTS.astype("float16"),), start, marks_of_steps(None, MASK), False)
    np.testing.assert_array_equal(as_array(decay[0]).ravel(), [0.5, 0.5, 1.0, 1.0])
    assert as_array(inputs[0]).dtype == "float32"
