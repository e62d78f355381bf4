"""Resets and masks from segment ids, against a loop."""

import numpy as np
from keras import ops

from keras_griffin.models.documents import document_boundaries, real_first
from keras_griffin.testing.arrays import as_array


def loop(segment_ids, segment):
    reset, mask = np.zeros(segment_ids.shape, bool), segment_ids > 0
    newest = segment.copy()
    for b, row in enumerate(segment_ids):
        for t, segment_id in enumerate(row):
            if segment_id > 0:
                reset[b, t] = newest[b] > 0 and segment_id != newest[b]
                newest[b] = segment_id
    return reset, mask, newest


def test_against_a_loop():
    generator = np.random.default_rng(0)
    for length in (1, 2, 7, 64):
        segment_ids = generator.integers(0, 4, (20, length)).astype("int32")
        segment = generator.integers(0, 4, 20).astype("int32")
        actual = document_boundaries(ops.convert_to_tensor(segment_ids), ops.convert_to_tensor(segment))
        for one, other in zip(actual, loop(segment_ids, segment), strict=True):
            np.testing.assert_array_equal(as_array(one), other)


def test_large_ids_are_exact():
    ids = np.array([[2**30, 2**30 + 1, 2**30 + 1]], "int32")
    reset, _, newest = document_boundaries(ops.convert_to_tensor(ids), ops.zeros((1,), "int32"))
    np.testing.assert_array_equal(as_array(reset), [[False, True, False]])
    assert int(newest[0]) == 2**30 + 1


def test_real_first_keeps_the_order_of_each_kind():
    mask = ops.convert_to_tensor(np.array([[False, True, False, True, True]]))
    np.testing.assert_array_equal(as_array(real_first(mask)), [[1, 3, 4, 0, 2]])
