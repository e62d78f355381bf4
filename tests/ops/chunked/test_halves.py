"""Chunks, and decays between their steps, against sums in float64."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.chunked.halves import chunk_length, decayed_products, decays, in_chunks, sums
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

GENERATOR = np.random.default_rng(0)


def test_chunks():
    assert [chunk_length(length) for length in (None, 0, 1, 2, 5, 64, 65)] == [64, 1, 1, 2, 8, 64, 64]
    x = np.arange(10, dtype="float32").reshape(1, 5, 2)
    np.testing.assert_array_equal(as_array(in_chunks(x, 4)).reshape(1, 8, 2)[:, :5], x)
    assert not as_array(in_chunks(x, 4))[:, 1, 1:].any()


@pytest.mark.parametrize("size", [1, 2, 8, 32, 64])
def test_decays(size):
    query, key, log_decay = (GENERATOR.normal(size=(2, size, 3)).astype("float32") for _ in range(3))
    log_decay = -np.abs(log_decay)
    expected = np.zeros((2, size, size, 3))
    for i in range(size):
        for j in range(i + 1):
            expected[:, i, j] = np.exp(log_decay[:, j + 1 : i + 1].astype("float64").sum(1))
    assert_close(decays(ops.convert_to_tensor(log_decay[..., :1])), expected[..., 0])
    products = decayed_products(*map(ops.convert_to_tensor, (query, key, log_decay)))
    assert_close(products, np.einsum("bih,bjh,bijh->bij", query, key, expected))
    since_start, to_end = sums(ops.convert_to_tensor(log_decay))
    assert_close(since_start, np.cumsum(log_decay, 1, dtype="float64"))
    assert_close(to_end, log_decay.sum(1, keepdims=True, dtype="float64") - np.cumsum(log_decay, 1, dtype="float64"))
