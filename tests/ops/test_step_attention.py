import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.step_attention import ring_attention, step_attention, write_place
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

ROWS, HEADS, CHANNELS = 3, 4, 6


def arrays_of(queries, steps, key_heads, dtype):
    """Queries, keys and values as tensors, and the same in float64."""
    generator = np.random.default_rng(0)
    keys = (ROWS, steps, key_heads, CHANNELS)
    tensors = [
        ops.cast(generator.normal(size=shape).astype("float32"), dtype)
        for shape in ((ROWS, queries, HEADS, CHANNELS), keys, keys)
    ]
    return tensors, [as_array(x).astype("float64") for x in tensors]


def defined(query_of, keys, values, seen):
    """Attention of one head after another; `query_of(row, step)` is the query `(N, H)` that meets the step's key."""
    expected = np.zeros((ROWS, 1, HEADS, CHANNELS))
    for row in range(ROWS):
        steps = np.flatnonzero(seen[row])
        for head in range(HEADS):
            own = head * keys.shape[2] // HEADS
            logits = np.array([query_of(row, s)[head] @ keys[row, s, own] for s in steps]) / CHANNELS**0.5
            weights = np.exp(logits - logits.max())
            expected[row, 0, head] = weights / weights.sum() @ values[row, steps, own]
    return expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("key_heads", "steps"), [(1, 7), (2, 5), (2, 1)])
def test_a_step_sees_what_is_visible(dtype, key_heads, steps):
    tensors, (query, keys, values) = arrays_of(1, steps, key_heads, dtype)
    visible = np.arange(steps) >= np.array([[0], [steps // 2], [steps - 1]])
    outputs = step_attention(*tensors, ops.convert_to_tensor(visible))
    assert_close(outputs, defined(lambda row, step: query[row, 0], keys, values, visible), dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("key_heads", [1, 2])
def test_each_place_meets_the_query_of_its_lap(dtype, key_heads):
    """Row 0 is in its first lap, row 1 in a later one, row 2 at the end of one."""
    place, count = np.array([2, 1, 4], "int32"), np.array([3, 7, 5], "int32")
    tensors, (query, keys, values) = arrays_of(2, 5, key_heads, dtype)
    outputs = ring_attention(*tensors, ops.convert_to_tensor(place), ops.convert_to_tensor(count))
    query_of = lambda row, step: query[row, 0 if step <= place[row] else 1]  # noqa: E731
    assert_close(outputs, defined(query_of, keys, values, np.arange(5) < count[:, None]), dtype)


def test_one_place_of_each_row_is_written_and_the_ring_stays_as_it_was():
    ring = ops.convert_to_tensor(np.arange(12.0).reshape(2, 3, 2).astype("float32"))
    step = ops.convert_to_tensor([[[50.0, 51.0]], [[60.0, 61.0]]])
    written = write_place(ring, ops.convert_to_tensor([2, 0]), step)
    expected = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(as_array(ring), expected)
    expected[0, 2], expected[1, 0] = [50, 51], [60, 61]
    np.testing.assert_array_equal(as_array(written), expected)
