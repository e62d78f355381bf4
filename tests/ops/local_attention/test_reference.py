import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.local_attention import local_attention
from keras_griffin.ops.local_attention.cases import CASES
from keras_griffin.testing.arrays import as_array


def dense(query, key, value, window, segment_ids, mask):
    """Attention by a whole matrix of logits, another way to the definition, in float64."""
    (batch_size, length, num_heads, channels), (_, span, num_key_heads, _) = query.shape, key.shape
    key, value = (np.repeat(x, num_heads // num_key_heads, axis=2) for x in (key, value))
    mask = np.ones((batch_size, span), bool) if mask is None else mask
    segment_ids = np.zeros((batch_size, span), int) if segment_ids is None else segment_ids
    place = np.cumsum(mask, axis=1)
    distance = place[:, span - length :, None] - place[:, None, :]
    order = np.arange(span - length, span)[:, None] >= np.arange(span)
    visible = order & (distance < window) & mask[:, None, :] & mask[:, span - length :, None]
    visible &= segment_ids[:, span - length :, None] == segment_ids[:, None, :]
    logits = np.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(channels)
    weights = np.where(visible[:, None], np.exp(logits), 0)
    weights = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-300)
    return np.einsum("bnts,bsnh->btnh", weights, value)


@pytest.mark.any_backend
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_definition_is_dense_attention(case):
    arrays = case.seen()
    expected = dense(*arrays, case.window, **case.marks)
    np.testing.assert_allclose(case.definition(*arrays)[0], expected, rtol=1e-10, atol=1e-12)
    # What it must not see is NaN here.
    np.testing.assert_array_equal(case.definition(*(x.values for x in case.arguments())), case.definition(*arrays))


def test_large_finite_numbers_in_half_precision_are_finite():
    """Their sum over a head's channels is not."""
    query = np.full((1, 3, 1, 256), 1e-3, "float16")
    value = np.full((1, 3, 1, 256), 300.0, "float16")
    outputs = local_attention(*(ops.convert_to_tensor(x) for x in (query, query, value)), 2)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float16"
    np.testing.assert_array_equal(as_array(outputs), 300.0)
