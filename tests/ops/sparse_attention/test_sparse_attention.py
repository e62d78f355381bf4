"""The pattern; `tests/ops/shared/test_attention_op.py` has the contract, and `tests/ops/test_rows.py` the values."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import global_attention, sparse_attention
from keras_griffin.ops.sparse_attention import checked_pattern
from keras_griffin.ops.sparse_attention.places import Places, places_of
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

B, T = 2, 24
GENERATOR = np.random.default_rng(0)
ARRAYS = [GENERATOR.normal(size=(B, T, heads, 4)).astype("float32") for heads in (2, 1, 1)]


@pytest.mark.parametrize(
    "options", [{"stride": 1}, {"stride": T}, {"stride": 4, "pattern": "fixed", "summary_steps": 4}]
)
def test_a_pattern_of_all_keys_is_global_attention(options):
    assert_close(sparse_attention(*ARRAYS, **options), as_array(global_attention(*ARRAYS)))


@pytest.mark.trainable
@pytest.mark.parametrize("pattern", ["strided", "fixed"])
def test_a_query_sees_exactly_the_pattern(pattern):
    """A value's gradient is the sum of its weights: nowhere zero in the pattern, and zero elsewhere."""
    from keras_griffin.testing.gradients import value_and_gradient

    i, j = np.arange(T)[:, None], np.arange(T)
    if pattern == "strided":
        sees = (i - j < 5) | ((i - j) % 5 == 0)
    else:
        sees = (i // 5 == j // 5) | (j % 5 >= 3)
    sees &= j <= i
    query, key, value = (x[:1, :, :1] for x in ARRAYS)
    for step in (0, 4, 5, 13, T - 1):

        def output(value, step=step):
            return ops.sum(sparse_attention(query, key, value, 5, pattern=pattern, summary_steps=2)[:, step])

        _, [gradient] = value_and_gradient(output, value)
        np.testing.assert_array_equal(gradient[0, :, 0, 0] != 0, sees[step])


def test_places_are_counted_from_the_start_of_a_document():
    ids, mask = np.array([[9, 9, 4, 4, 4, 4, 7]]), np.array([[False, True, True, True, True, True, True]])
    expected = [(0, 1, 1), (0, 2, 2), (1, 3, 2), (2, 4, 2), (0, 2, 5), (0, 6, 6)]
    places = places_of(7, 3, ops.convert_to_tensor(ids), ops.convert_to_tensor(mask))
    np.testing.assert_array_equal(np.stack([as_array(x)[0] for x in places], axis=1)[1:], expected)
    assert as_array(places.is_summary(3, 1))[0].tolist()[1:] == [False, False, False, True, False, False]
    whole = places_of(5, 3, None, None)
    assert isinstance(whole, Places) and as_array(whole.block).tolist() == [[0, 0, 0, 3, 3]]


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ((0, "strided", 8), "stride must be an integer of at least 1. Got 0."),
        ((4, "strides", 8), "pattern must be one of strided, fixed. Got 'strides'; did you mean 'strided'?"),
        ((4, "fixed", 5), "summary_steps must be an integer from 1 to the stride 4. Got 5."),
        ((4, "strided", 0), "summary_steps must be an integer of at least 1. Got 0."),
    ],
)
def test_what_is_no_pattern(pattern, sentence):
    assert checked_pattern("op", 4, "strided", 8) == (4, "strided", 8)
    stride, kind, ends = pattern
    with pytest.raises(ValueError) as error:
        sparse_attention(*ARRAYS, stride, pattern=kind, summary_steps=ends)
    assert str(error.value) == f"sparse_attention: {sentence}"


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX reports a compiled program's memory")
@pytest.mark.parametrize("pattern", ["strided", "fixed"])
def test_memory_is_that_of_the_pattern(pattern):
    """A few arrays with a number for each query and each key that it is compared with, forward and backward."""
    import jax

    length, stride = 4096, 64
    arrays = [np.zeros((1, length, 1, 4), "float32")] * 3

    def both(cotangent, *tensors):
        call = lambda *x: sparse_attention(*x, stride, pattern=pattern, summary_steps=2)  # noqa: E731
        outputs, pull_back = jax.vjp(call, *tensors)
        return outputs, pull_back(cotangent)

    memory = jax.jit(both).lower(arrays[0], *arrays).compile().memory_analysis()
    keys = 2 * stride + length // stride * (1 if pattern == "strided" else 2)
    assert 0 < memory.temp_size_in_bytes < 6 * 4 * length * keys
