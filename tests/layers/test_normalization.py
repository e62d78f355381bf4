import numpy as np
import pytest

from keras_griffin.layers.normalization import NORM, NORMS, norm_weights, normalization
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close


@pytest.mark.parametrize("kind", NORMS)
def test_a_norm_has_the_weights_that_are_declared(kind):
    norm = normalization(kind, 1e-3, name="norm")
    x = np.random.default_rng(0).normal(2.0, 1.0, (2, 3, 5)).astype("float32")
    outputs = as_array(norm(x))
    assert {weight.path: tuple(weight.shape) for weight in norm.weights} == {
        path: weight.shape for path, weight in norm_weights("norm", kind, 5).items()
    }
    centred = x - x.mean(-1, keepdims=True) if kind == "layer" else x
    assert_close(outputs, centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3))
    assert NORM.holds(kind) and not NORM.holds("batch")
