"""Heads are cut from a vector in their order, and each has a norm of its own."""

import numpy as np
import pytest

from keras_griffin.layers.heads import l2_normalised, merge_heads, rms_normalised, split_heads
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

X = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("float32")


def test_heads():
    heads = split_heads(X, 3)
    np.testing.assert_array_equal(as_array(heads), X.reshape(2, 5, 3, 4))
    np.testing.assert_array_equal(as_array(merge_heads(heads)), X)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_norms(dtype):
    x = X.astype(dtype)
    expected = x / np.sqrt((x.astype("float64") ** 2).mean(-1, keepdims=True) + 0.25)
    assert_close(rms_normalised(x, 0.25), expected, "float32")
    expected = X / np.sqrt((X.astype("float64") ** 2).sum(-1, keepdims=True) + 0.25)
    assert_close(l2_normalised(X, 0.25), expected)
