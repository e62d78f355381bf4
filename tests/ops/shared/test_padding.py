import keras
import numpy as np
import pytest

from keras_griffin.ops.shared.padding import padded_steps, power_of_two
from keras_griffin.testing.arrays import as_array


@pytest.mark.any_backend
def test_powers_of_two():
    assert [power_of_two(number) for number in (1, 2, 3, 4, 5, 64, 65)] == [1, 2, 4, 4, 8, 64, 128]


def test_steps_of_one_number_stand_around_a_sequence():
    x = np.arange(12, dtype="float32").reshape(2, 3, 2)
    for before, after in [(0, 0), (2, 0), (0, 1), (3, 2)]:
        result = padded_steps(keras.ops.convert_to_tensor(x), before, after, 7.0)
        expected = np.pad(x, [(0, 0), (before, after), (0, 0)], constant_values=7.0)
        np.testing.assert_array_equal(as_array(result), expected)
    assert keras.backend.standardize_dtype(padded_steps(keras.ops.ones((1, 2), "int32"), 1).dtype) == "int32"


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a device of PyTorch")
def test_shapes_alone_are_padded():
    """Keras would build a model with numbers instead, and say nothing."""
    import torch
    from keras.src.backend.torch.core import device_scope

    with device_scope("meta"):
        x = torch.zeros((1, 2), device="meta")
        assert padded_steps(x, 1, 2, 3.0).device.type == "meta" and padded_steps(x, 1, 2, 3.0).shape == (1, 5)
