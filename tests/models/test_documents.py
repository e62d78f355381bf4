"""Resets and masks from segment ids, against a loop."""

import numpy as np
from keras import ops

from keras_griffin.models.documents import PackedRows, document_boundaries
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


def test_packed_rows_puts_real_tokens_first_and_says_where_they_went():
    token_ids, segment_ids = np.array([[9, 1, 9, 2, 3]], "int32"), np.array([[0, 1, 0, 1, 2]], "int32")
    tokens, reset, places = PackedRows()(token_ids, segment_ids)
    np.testing.assert_array_equal(as_array(tokens), [[1, 2, 3, 0, 0]])
    np.testing.assert_array_equal(as_array(reset), [[False, False, True, False, False]])
    np.testing.assert_array_equal(as_array(tokens)[0, as_array(places)[0]], np.where(segment_ids > 0, token_ids, 0)[0])
