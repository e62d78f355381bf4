"""More than 16 taps, which `test_causal_conv.py` and `test_unseen_steps.py` also have."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.causal_conv import FEW, causal_conv
from keras_griffin.ops.causal_conv.many_taps import sum_of_many_taps
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.ops.causal_conv.test_causal_conv import _arguments, _expected, _flags


@pytest.mark.parametrize("flags", ["neither", "both"])
@pytest.mark.parametrize(("length", "taps"), [(65, 17), (300, 136), (7, 256)])
def test_many_taps(length, taps, flags):
    """K = 16 + 1; K = 128 + 8 in several blocks, by Fourier transforms; and K far longer than the row."""
    arguments, flags = _arguments(length, taps), _flags(flags, length)
    for actual, expected in zip(causal_conv(*arguments, **flags), _expected(*arguments, **flags), strict=True):
        assert_close(actual, expected, factor=0.1)


def test_a_number_that_no_tap_reaches_leaves_no_trace():
    """Steps up to 100 are out of reach of steps from 236 on, though their blocks meet in transforms."""
    inputs, *others = _arguments(300, 136)
    expected, _ = _expected(inputs, *others)
    inputs[:, :101] = np.nan
    outputs = as_array(causal_conv(inputs, *others)[0])
    assert_close(outputs[:, 236:], expected[:, 236:], "float32")
    assert np.isnan(outputs[:, 235]).all()


@pytest.mark.any_backend
@pytest.mark.parametrize("taps", [1, 6, FEW])
def test_few_taps_are_no_other_sum(taps):
    """Of every number of binary digits, though few taps are summed one after the other."""
    inputs, kernel, _, start = _arguments(9, taps)
    history = ops.convert_to_tensor(np.concatenate([start, inputs], axis=1))
    outputs, _ = causal_conv(inputs, kernel, None, start)
    assert_close(sum_of_many_taps(history, None, ops.convert_to_tensor(kernel)), as_array(outputs))
