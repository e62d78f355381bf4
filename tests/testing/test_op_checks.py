from dataclasses import dataclass

import keras
import numpy as np
import pytest

from keras_griffin.ops.linear_scan.cases import ScanCase
from keras_griffin.testing.op_checks import check_gradients, check_values, weights_of

CASE = ScanCase(5, 2, has_reset=True)


@dataclass(frozen=True)
class Wrong(ScanCase):
    """Its states are off by a thousandth, or of another dtype."""

    as_dtype: str = "float32"

    def call(self, *tensors):
        states, final_state = super().call(*tensors)
        return [keras.ops.cast(1.001 * states, self.as_dtype), final_state]


def test_a_right_row_passes():
    check_values("linear_scan", "portable", CASE)


@pytest.mark.trainable
def test_a_right_gradient_passes():
    check_gradients("linear_scan", "portable", CASE)


def test_a_wrong_value_is_found():
    with pytest.raises(AssertionError, match="relative error must be at most"):
        check_values("linear_scan", "portable", Wrong(5, 2))


def test_a_wrong_dtype_is_found():
    with pytest.raises(AssertionError, match=r"dtypes must be \['float32', 'float32'\]. Got \['bfloat16'"):
        check_values("linear_scan", "portable", Wrong(5, 2, as_dtype="bfloat16"))


@pytest.mark.trainable
def test_a_wrong_gradient_is_found():
    with pytest.raises(AssertionError, match="relative error must be at most"):
        check_gradients("linear_scan", "portable", Wrong(5, 2))


def test_weights_are_float32_numbers():
    (weights,) = weights_of([np.zeros((2, 3))])
    assert weights.dtype == "float64" and np.array_equal(weights, weights.astype("float32"))
