import keras
import numpy as np

from keras_griffin.layers import RGLRU
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled


def test_results_are_those_of_the_function():
    layer = RGLRU()
    inputs = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    layer.build(inputs.shape)
    outputs, state = compiled(layer.advance)(inputs, layer.initial_state(2), mask=None)
    expected, expected_state = layer.advance(inputs, layer.initial_state(2))
    assert_close(outputs, as_array(expected))
    assert_close(state.hidden, as_array(expected_state.hidden))


def test_a_shape_is_run_in_python_once_on_jax():
    runs = []
    function = compiled(lambda x: runs.append(1) or 2 * x)
    for _ in range(3):
        function(keras.ops.ones((2,)))
    assert len(runs) == (1 if keras.backend.backend() == "jax" else 3)
