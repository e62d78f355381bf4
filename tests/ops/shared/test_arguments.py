import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.shared.arguments import as_tensor, check_steps, shape_fits


def test_arrays_and_variables_become_tensors():
    array = np.arange(3, dtype="float32")
    for argument in (array, keras.Variable(array), ops.convert_to_tensor(array)):
        tensor = as_tensor(argument)
        assert ops.is_tensor(tensor)
        np.testing.assert_array_equal(ops.convert_to_numpy(tensor), array)


@pytest.mark.parametrize(
    ("shape", "expected", "fits"),
    [
        ((2, 3), (2, 3), True),
        ((2, None), (2, 3), True),
        ((2, 3), (None, 3), True),
        ((2, 3), (2, 4), False),
        ((None, 3), (2, 4), False),
        ((2,), (2, 3), False),
        ((2, 3), (2,), False),
        ((0, 3), (1, 3), False),
        ((), (), True),
    ],
)
def test_a_size_not_known_fits_any(shape, expected, fits):
    assert shape_fits(keras.KerasTensor(shape), expected) is fits


def test_flags_that_fit_pass():
    check_steps("op", (2, 3), reset=None, mask=ops.ones((2, 3), "bool"))
    check_steps("op", (None, None), reset=keras.KerasTensor((2, None), "bool"))


@pytest.mark.parametrize(("shape", "dtype"), [((2, 4), "bool"), ((2, 3, 1), "bool"), ((2, 3), "int32")])
def test_a_flag_that_does_not_fit_is_named(shape, dtype):
    sentence = f"op: mask must be boolean, one value for each step, shape (2, 3). Got dtype {dtype} and shape {shape}."
    with pytest.raises(ValueError) as error:
        check_steps("op", (2, 3), reset=None, mask=ops.ones(shape, dtype))
    assert str(error.value) == sentence
