import numpy as np
from keras import ops

from keras_griffin.layers.base.stream_start import start_stream
from keras_griffin.testing.arrays import as_array


def test_the_first_real_step_of_a_row_that_has_not_started():
    inputs, started = np.zeros((3, 4, 2), "float32"), np.array([False, True, False])
    first, after = start_stream(started, inputs, None, None)
    assert as_array(first).tolist() == [[True, False, False, False], [False] * 4, [True, False, False, False]]
    assert as_array(after).all()
    mask = ops.convert_to_tensor([[False, True, True, False], [True] * 4, [False] * 4])
    reset = ops.convert_to_tensor([[False] * 4, [False, False, True, False], [False] * 4])
    first, after = start_stream(started, inputs, reset, mask)
    assert as_array(first).tolist() == [[False, True, False, False], [False, False, True, False], [False] * 4]
    assert as_array(after).tolist() == [True, True, False]
    first, after = start_stream(started, inputs[:, :0], None, None)
    assert first.shape == (3, 0) and after is started
