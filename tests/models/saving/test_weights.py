import keras
import ml_dtypes
import numpy as np
import pytest

from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.saving.weights import as_array, assign, check_tensors, fill, stored

CONFIG = GriffinConfig(vocabulary_size=7, width=16, num_layers=3, num_heads=2, window=4)


def variable_of(shape, dtype):
    return keras.Variable(np.zeros(shape), dtype=dtype)


def tensor_of(array):
    return StoredTensor(array.shape, array.dtype, lambda: array)


@pytest.mark.parametrize("theirs", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("ours", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("is_turned", [False, True])
def test_a_number_is_rounded_once(theirs, ours, is_turned):
    array = np.random.default_rng(0).standard_normal((5, 3)).astype(theirs)
    array = array.T if is_turned else array
    variable = variable_of(array.shape, ours)
    assign(variable, array)
    value = as_array(variable)
    assert value.dtype == np.dtype(ours) and value.shape == array.shape
    np.testing.assert_array_equal(value, array.astype(ours))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_bit_comes_and_goes(dtype):
    bits = np.array([0, 1, 0x7FC1, 0x7F80, 0xFF80, 0x8000, 0x3F80, 0x0001], "uint16")
    array = bits.view(ml_dtypes.bfloat16).astype(dtype)
    variable = variable_of(array.shape, dtype)
    assign(variable, array)
    assert as_array(variable).tobytes() == array.tobytes()
    assert stored(variable).read().tobytes() == array.tobytes()
    assert (stored(variable).shape, stored(variable).dtype) == (array.shape, array.dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_variable_keeps_nothing_of_the_array_s_memory(dtype):
    # Aligned, as arrays must be for a backend to share their memory.
    memory = np.ones(2**20 + 64, "uint8")
    start = -memory.ctypes.data % 64
    array = memory[start : start + 2**20].view(dtype).reshape(256, -1)
    array[:] = 1.0
    variable = variable_of(array.shape, dtype)
    assign(variable, array)
    array[:] = 2.0
    assert np.all(as_array(variable) == 1.0)


def test_an_array_of_another_shape_is_refused():
    variable = variable_of((3, 2), "float32")
    with pytest.raises(ValueError, match="shape"):
        assign(variable, np.ones((2, 2), "float32"))
    np.testing.assert_array_equal(as_array(variable), np.zeros((3, 2)))


def test_a_model_is_filled_by_path():
    model, other = Griffin(CONFIG), Griffin(CONFIG)
    fill("from_preset", model, {variable.path: stored(variable) for variable in other.weights})
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(as_array(ours), as_array(theirs))
    with pytest.raises(ValueError, match=r"^from_preset: the tensors .* Got no token_embedding/embeddings, .*; no "):
        fill("from_preset", model, {})


def test_all_mistakes_are_in_one_sentence():
    expected = {"a": (2,), "b": (2,), "c": (2,), "d": (2,)}
    tensors = {
        "a": tensor_of(np.zeros(2, "float32")),
        "b": tensor_of(np.zeros((2, 1), ml_dtypes.bfloat16)),
        "c": tensor_of(np.zeros(2, "int8")),
        "e": tensor_of(np.zeros(3)),
    }
    with pytest.raises(ValueError) as error:
        check_tensors("load", expected, tensors)
    assert str(error.value) == (
        "load: the tensors must be exactly those of the model. Got b of shape (2, 1), which should be "
        "(2,); c of dtype int8, which should be floating point; no d, which should be (2,); e (3,), which is unknown."
    )
    check_tensors("load", {"a": (2,)}, {"a": tensors["a"]})
