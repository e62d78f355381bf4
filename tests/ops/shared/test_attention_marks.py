"""What implementations share, where it is more than portable uses: which queries a kernel's outputs are lost for."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.shared.attention_marks import attend_with_marks
from keras_griffin.testing.arrays import as_array

BATCH, SPAN, WINDOW = 3, 41, 7


def running_max(x):
    return ops.convert_to_tensor(np.maximum.accumulate(as_array(x), axis=1))


@pytest.mark.skipif(keras.backend.backend() not in ("jax", "torch"), reason="no kernel on this backend")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("segments", [None, (0, 3, "int32"), (-(2**31), 2**31 - 1, "int32"), (0, 2, "uint8")])
def test_marks_are_one_number_and_a_query_is_lost_by_what_it_sees(masked, segments):
    generator = np.random.default_rng(0)
    key = generator.normal(size=(BATCH, SPAN, 1, 4)).astype("float32")
    key[generator.random((BATCH, SPAN)) < 0.1] = np.nan
    mask = generator.random((BATCH, SPAN)) < 0.7 if masked else None
    segment_ids = None
    if segments is not None:
        low, high, dtype = segments
        segment_ids = generator.choice([low, high], size=(BATCH, SPAN)).astype(dtype)
    got = []

    def kernel(query, key, value, window, ids):
        got.append(as_array(ids) if ids is not None else None)
        assert np.isfinite(as_array(key)).all() and window == WINDOW
        return query

    tensors = [ops.convert_to_tensor(x) for x in (np.zeros((BATCH, SPAN, 2, 4), "float32"), key, np.zeros_like(key))]
    marks = [None if x is None else ops.convert_to_tensor(x) for x in (segment_ids, mask)]
    outputs = attend_with_marks(kernel, running_max, *tensors, WINDOW, *marks)

    mask = np.ones((BATCH, SPAN), bool) if mask is None else mask
    for row in range(BATCH):
        for step in range(SPAN):
            seen = np.flatnonzero(mask[row, : step + 1])[-WINDOW:]
            if segment_ids is not None:
                seen = seen[segment_ids[row, seen] == segment_ids[row, step]]
            lost = mask[row, step] and np.isnan(key[row, seen]).any()
            assert np.isnan(as_array(outputs)[row, step]).all() == lost

    (ids,) = got
    if segment_ids is None and not masked:
        assert ids is None
    else:
        # In the order that a kernel sees, masked steps first.
        for row in range(BATCH):
            hidden = SPAN - mask[row].sum()
            assert (ids[row, :hidden] == 0).all() and (ids[row, hidden:] > 0).all()
            if segment_ids is not None:
                same = segment_ids[row, mask[row]]
                np.testing.assert_array_equal(ids[row, hidden:, None] == ids[row, None, hidden:], same[:, None] == same)
