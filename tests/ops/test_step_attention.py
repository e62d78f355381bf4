import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.step_attention import ring_attention, step_attention, write_place
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("key_heads", "steps"), [(1, 7), (2, 5), (2, 1)])
def test_a_step_sees_what_is_visible(dtype, key_heads, steps):
    heads, channels = 4, 6
    generator = np.random.default_rng(0)
    arrays = [
        as_array(ops.cast(generator.normal(size=shape).astype("float32"), dtype))
        for shape in ((3, 1, heads, channels), (3, steps, key_heads, channels), (3, steps, key_heads, channels))
    ]
    query, keys, values = (np.asarray(array, "float64") for array in arrays)
    visible = np.arange(steps) >= np.array([[0], [steps // 2], [steps - 1]])
    expected = np.zeros((3, 1, heads, channels))
    for row in range(3):
        for head in range(heads):
            own = head * key_heads // heads
            logits = keys[row, visible[row], own] @ query[row, 0, head] / channels**0.5
            weights = np.exp(logits - logits.max())
            expected[row, 0, head] = weights / weights.sum() @ values[row, visible[row], own]
    outputs = step_attention(*(ops.cast(array, dtype) for array in arrays), ops.convert_to_tensor(visible))
    assert_close(outputs, expected, dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("key_heads", [1, 2])
def test_each_place_meets_the_query_of_its_lap(dtype, key_heads):
    """Row 0 is in its first lap, row 1 in a later one, row 2 at the end of one."""
    window, heads, channels = 5, 4, 6
    place, count = np.array([2, 1, 4], "int32"), np.array([3, 7, 5], "int32")
    generator = np.random.default_rng(0)
    arrays = [
        as_array(ops.cast(generator.normal(size=shape).astype("float32"), dtype))
        for shape in ((3, 2, heads, channels), (3, window, key_heads, channels), (3, window, key_heads, channels))
    ]
    query, keys, values = (np.asarray(array, "float64") for array in arrays)
    expected = np.zeros((3, 1, heads, channels))
    for row in range(3):
        for head in range(heads):
            own = head * key_heads // heads
            seen = [s for s in range(window) if s < count[row]]
            logits = np.array(
                [query[row, 0 if s <= place[row] else 1, head] @ keys[row, s, own] / channels**0.5 for s in seen]
            )
            weights = np.exp(logits - logits.max())
            expected[row, 0, head] = weights / weights.sum() @ values[row, seen, own]
    place, count = ops.convert_to_tensor(place), ops.convert_to_tensor(count)
    outputs = ring_attention(*(ops.cast(array, dtype) for array in arrays), place, count)
    assert_close(outputs, expected, dtype)


def test_one_place_of_each_row_is_written_and_the_ring_stays_as_it_was():
    ring = ops.convert_to_tensor(np.arange(12.0).reshape(2, 3, 2).astype("float32"))
    step = ops.convert_to_tensor([[[50.0, 51.0]], [[60.0, 61.0]]])
    written = write_place(ring, ops.convert_to_tensor([2, 0]), step)
    expected = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(as_array(ring), expected)
    expected[0, 2], expected[1, 0] = [50, 51], [60, 61]
    np.testing.assert_array_equal(as_array(written), expected)
