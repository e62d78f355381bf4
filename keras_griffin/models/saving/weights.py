"""Moving weights between a model's variables and files."""

from collections.abc import Collection, Mapping

import keras
import ml_dtypes
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.models.parameters import is_divided

#: How much is copied to PyTorch at a time.
PIECE_BYTES = 2**26
#: How many of a checkpoint's mistakes an error message lists.
NAMED_MISTAKES = 8


def fill(function_name: str, model: keras.Model, tensors: Mapping[str, StoredTensor]) -> None:
    """Read every variable of a model, one at a time, each rounded once to the variable's dtype.

    Args:
        function_name: the function's name, for error messages.
        model: the model whose variables are overwritten.
        tensors: by the variables' paths, such as `"block_0/mlp/up/kernel"`.

    Raises:
        ValueError: as for `check_tensors`.
    """
    variables = {variable.path: variable for variable in model.weights}
    shapes = {path: tuple(variable.shape) for path, variable in variables.items()}
    check_tensors(function_name, shapes, tensors, {path for path, each in variables.items() if each.dtype == "int8"})
    for path, variable in variables.items():
        assign(variable, tensors[path].read())


def check_tensors(
    function_name: str,
    expected: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, StoredTensor],
    quantized: Collection[str] = (),
) -> None:
    """Refuse tensors that are missing, unknown, misshapen or not floating point, all in one sentence.

    Args:
        function_name: the function's name, for error messages.
        expected: the shape of each required tensor.
        tensors: the tensors of the file.
        quantized: which of them must be int8 instead.

    Raises:
        ValueError: they differ from the expected ones.
    """
    mistakes = []
    for name, shape in expected.items():
        if name not in tensors:
            mistakes.append(f"no {name}, which should be {shape}")
        elif tuple(tensors[name].shape) != shape:
            mistakes.append(f"{name} of shape {tuple(tensors[name].shape)}, which should be {shape}")
        elif name in quantized and tensors[name].dtype != "int8":
            mistakes.append(f"{name} of dtype {tensors[name].dtype}, which should be int8")
        elif name not in quantized and not _is_floating(tensors[name].dtype):
            mistakes.append(f"{name} of dtype {tensors[name].dtype}, which should be floating point")
    mistakes += [f"{name} {tuple(tensors[name].shape)}, which is unknown" for name in tensors if name not in expected]
    if mistakes:
        more = len(mistakes) - NAMED_MISTAKES
        rest = [f"{more} more mistakes"] if more > 0 else []
        received = "; ".join([*mistakes[:NAMED_MISTAKES], *rest])
        raise ValueError(f"{function_name}: the tensors must be exactly those of the model. Got {received}.")


def assign(variable: keras.Variable, array: np.ndarray) -> None:
    """Assign an array to a variable, rounded to its dtype.

    No wider copy is made in between, and the array's memory, which may be a mapped file, is not referenced afterwards.
    On PyTorch it is written into the variable piece by piece. On JAX the old value, which must not be shared, is freed
    first. On TensorFlow the whole value is assigned: a variable that was once partially written is copied at every
    read.
    """
    dtype, backend = np.dtype(variable.dtype), keras.backend.backend()
    fits = array.shape == tuple(variable.shape)
    if fits and array.ndim and backend == "torch" and not is_divided(variable):
        step = max(1, PIECE_BYTES // max(1, array[:1].size * dtype.itemsize))
        for start in range(0, len(array), step):
            _write_rows(variable.value, start, np.array(array[start : start + step], dtype, order="C"))
        return
    if fits and backend == "jax":
        variable.value.delete()
    variable.assign(backends.active().owned_copy(array, dtype))


def _write_rows(value, start, rows):
    if rows.dtype == ml_dtypes.bfloat16:
        # Keras would make a float32 copy of it.
        rows = ops.view(ops.convert_to_tensor(rows.view("int16")), "bfloat16")
    else:
        rows = ops.convert_to_tensor(rows)
    value.detach()[start : start + len(rows)].copy_(rows)


def stored(variable: keras.Variable) -> StoredTensor:
    """A variable in the form that `write_safetensors` takes."""
    return StoredTensor(tuple(variable.shape), np.dtype(variable.dtype), lambda: as_array(variable))


def as_array(variable: keras.Variable) -> np.ndarray:
    """A variable's exact value, in its own dtype."""
    if keras.backend.backend() == "torch" and variable.dtype == "bfloat16" and not is_divided(variable):
        return ops.convert_to_numpy(ops.view(variable.value, "int16")).view(ml_dtypes.bfloat16)
    return np.asarray(ops.convert_to_numpy(variable))


def _is_floating(dtype) -> bool:
    return np.issubdtype(dtype, np.floating) or dtype == ml_dtypes.bfloat16
