import numpy as np
from keras import ops

from keras_griffin.layers.running_average import RunningAverage, running_average
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close


def test_it_is_the_average_with_the_weights():
    generator = np.random.default_rng(0)
    keys, values, decay = (generator.normal(size=(2, 7, 3)).astype("float32") for _ in range(3))
    decay = -np.abs(decay)
    start = RunningAverage(np.zeros((2, 3), "float32"), np.full((2, 3), -1e30, "float32"))
    tensors = [ops.convert_to_tensor(array) for array in (decay, keys, values)]
    after, before, last = running_average(*tensors, RunningAverage(*map(ops.convert_to_tensor, start)), None, None)
    expected = np.empty((2, 7, 3))
    for t in range(7):
        ages = np.concatenate([np.cumsum(decay[:, t:0:-1], axis=1)[:, ::-1], np.zeros((2, 1, 3))], axis=1)
        weights = np.exp(ages + keys[:, : t + 1])
        expected[:, t] = (weights * values[:, : t + 1]).sum(1) / weights.sum(1)
        assert_close(as_array(after.log_weight)[:, t], np.log(weights.sum(1)))
    assert_close(after.average, expected)
    assert_close(as_array(before.average)[:, 1:], expected[:, :-1])
    assert_close(last.average, expected[:, -1])
