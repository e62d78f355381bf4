"""The definition against `linear_scan` of exponentials; its gradient is judged by `tests/ops/test_rows.py`."""

import numpy as np
import pytest

from keras_griffin.ops.linear_scan import reference as scan_reference
from keras_griffin.ops.log_scan import reference
from keras_griffin.ops.log_scan.log_numbers import NOTHING

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("marked", [False, True])
def test_it_is_a_linear_scan_of_exponentials(marked):
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=shape) for shape in ((2, 6, 3), (2, 6, 3), (2, 3))]
    marks = {"reset": generator.random((2, 6)) < 0.4, "mask": generator.random((2, 6)) < 0.7} if marked else {}
    expected = scan_reference.definition(*map(np.exp, arrays), **marks)
    for logarithm, number in zip(reference.definition(*arrays, **marks), expected, strict=True):
        np.testing.assert_allclose(np.exp(logarithm), number)


def test_no_initial_state_is_nothing_and_stays_so_while_nothing_comes():
    decay, nothing = np.full((1, 3, 2), -0.5), np.full((1, 2), NOTHING)
    inputs = np.stack([np.full((1, 2), -np.inf), np.full((1, 2), NOTHING), np.ones((1, 2))], axis=1)
    states, _ = reference.definition(decay, inputs)
    np.testing.assert_array_equal(states, reference.definition(decay, inputs, nothing)[0])
    np.testing.assert_array_equal(states[0, :, 0], [NOTHING, NOTHING, 1.0])
