"""What only TensorFlow asks of its implementation: few traces."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow alone", allow_module_level=True)

from keras_griffin.ops import rg_lru
from keras_griffin.ops.rg_lru import tensorflow_loop


def test_a_new_length_is_traced_once_more_and_no_further_one_is():
    for length in range(2, 7):
        x = np.ones((2, length, 3), "float32")
        rg_lru(x, x, x, np.ones(3, "float32"), exponent=5.5)
    run, _ = tensorflow_loop._compiled(5.5, False)
    assert run.experimental_get_tracing_count() <= 2
