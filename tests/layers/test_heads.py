"""Heads are cut from a vector in their order, and each has a norm of its own."""

import numpy as np
import pytest

from keras_griffin.layers.heads import l2_normalised, merge_heads, number_of_heads, rms_normalised, split_heads
from keras_griffin.mixers import Retention
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

X = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("float32")


def test_heads():
    heads = split_heads(X, 3)
    np.testing.assert_array_equal(as_array(heads), X.reshape(2, 5, 3, 4))
    np.testing.assert_array_equal(as_array(merge_heads(heads)), X)


def test_norms():
    for x in (X, X.astype("float16")):
        expected = x / np.sqrt((x.astype("float64") ** 2).mean(-1, keepdims=True) + 0.25)
        assert_close(rms_normalised(x, 0.25), expected, "float32")
    np.testing.assert_array_equal(as_array(rms_normalised(0.0 * X, 0.0)), 0.0)
    expected = X / np.sqrt((X.astype("float64") ** 2).sum(-1, keepdims=True) + 0.25)
    assert_close(l2_normalised(X, 0.25), expected)


@pytest.mark.any_backend
def test_numbers_of_heads():
    for width, channels, multiple, count in ((1024, 64, 1, 16), (1024, 256, 2, 4), (2560, 256, 2, 10), (48, 256, 2, 4)):
        assert number_of_heads("Mixer", None, width, channels, multiple) == count
    # The next lower number that divides.
    assert number_of_heads("Mixer", None, 12, 64) == 4 and number_of_heads("Mixer", None, 12, 64, 2) == 3
    assert number_of_heads("Mixer", 2, 12, 64) == 2


@pytest.mark.any_backend
@pytest.mark.parametrize(("num_heads", "width"), [(4, 12), (None, 9)])
def test_heads_that_do_not_fit_are_refused(num_heads, width):
    """By every `MatrixMixer` when it is built."""
    rule = "num_heads must divide the width into heads of a multiple of 2 channels"
    with pytest.raises(ValueError, match=f"^Retention: {rule}. Got num_heads {num_heads} and width {width}.$"):
        Retention(num_heads).build((None, None, width))
