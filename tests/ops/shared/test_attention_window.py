"""A window by blocks, with the logarithms of the sums; `tests/ops/test_rows.py` has the values and gradients."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.shared.attention_window import are_few, attention_in_window
from keras_griffin.testing.closeness import assert_close

B, T, H = 2, 50, 4
GENERATOR = np.random.default_rng(0)
QUERY, KEY, VALUE = (GENERATOR.normal(size=(B, T, 1, H)).astype("float32") for _ in range(3))


@pytest.mark.parametrize(("window", "few"), [(5, False), (60, True)])
def test_both_ways_give_outputs_and_sums(window, few):
    assert are_few(T, window) == few and not are_few(None, window)
    ids = np.arange(T)[None] // 20
    attended = attention_in_window(
        *map(ops.convert_to_tensor, (QUERY, KEY, VALUE, np.ones((B, T), bool), ids)), None, window, with_log_sum=True
    )
    distance = np.arange(T)[:, None] - np.arange(T)
    sees = (distance >= 0) & (distance < window) & (ids[0][:, None] == ids[0])
    weights = np.exp(np.einsum("btnh,bsnh->bts", QUERY, KEY, dtype="float64")) * sees
    assert_close(attended.log_sum[..., 0], np.log(weights.sum(axis=2)))
    assert_close(attended.outputs, np.einsum("bts,bsnh->btnh", weights / weights.sum(axis=2, keepdims=True), VALUE))
