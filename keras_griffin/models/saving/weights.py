"""Moving weights between a model's variables and files."""

from collections.abc import Collection, Mapping

import keras
import ml_dtypes
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.models.parameters import Divided

#: How much is copied to PyTorch at a time.
PIECE_BYTES = 2**26
#: How many of a checkpoint's mistakes an error message lists.
NAMED_MISTAKES = 8


def fill(function_name: str, model: keras.Model, tensors: Mapping[str, StoredTensor]) -> None:
    """Read every variable of a model, by its path, one at a time, each rounded once to the variable's dtype."""
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
    """Refuse tensors without the expected names and shapes, or not int8 if `quantized`, or else not floating point."""
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
    """Assign an array to a variable, rounded to its dtype, without a wider copy or a reference to its memory."""
    # On JAX the old value, which must not be shared, is freed first. TensorFlow copies a variable that was once
    # partially written at every read, so only PyTorch is written piece by piece.
    dtype, backend = np.dtype(variable.dtype), keras.backend.backend()
    fits = array.shape == tuple(variable.shape)
    if fits and array.ndim and backend == "torch" and not isinstance(variable, Divided):
        step = max(1, PIECE_BYTES // max(1, array[:1].size * dtype.itemsize))
        for start in range(0, len(array), step):
            rows = np.array(array[start : start + step], dtype, order="C")
            # Of a bfloat16 array Keras would make a float32 copy.
            is_half = dtype == ml_dtypes.bfloat16
            rows = ops.view(ops.convert_to_tensor(rows.view("int16")), "bfloat16") if is_half else rows
            variable.value.detach()[start : start + step].copy_(ops.convert_to_tensor(rows))
        return
    if fits and backend == "jax":
        variable.value.delete()
    variable.assign(backends.active().owned_copy(array, dtype))


def stored(variable: keras.Variable) -> StoredTensor:
    """A variable in the form that `write_safetensors` takes."""
    return StoredTensor(tuple(variable.shape), np.dtype(variable.dtype), lambda: as_array(variable))


def as_array(variable: keras.Variable) -> np.ndarray:
    """A variable's exact value, in its own dtype."""
    if keras.backend.backend() == "torch" and variable.dtype == "bfloat16" and not isinstance(variable, Divided):
        return ops.convert_to_numpy(ops.view(variable.value, "int16")).view(ml_dtypes.bfloat16)
    return np.asarray(ops.convert_to_numpy(variable))


def _is_floating(dtype) -> bool:
    return np.issubdtype(dtype, np.floating) or dtype == ml_dtypes.bfloat16
