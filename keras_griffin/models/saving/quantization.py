"""Quantised models in presets: which can be saved, and what a file must contain before a model is built for it."""

import math
from collections.abc import Mapping
from functools import partial

import keras
import numpy as np

from keras_griffin import backends
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.layers.base.sublayers import with_parts
from keras_griffin.layers.projection import kernel_of

#: How the name of a kernel's scale differs from the kernel's.
SCALE = "_scale"
#: The modes that presets support, by `quantize` with the mode alone.
MODES = ("int8", "int4")


def check_quantization(function_name: str, model: keras.Model) -> None:
    """Refuse to save a quantised model that its mode alone does not reproduce."""
    if model.quantized_to is None or (model.quantized_to in MODES and model.quantized_by_mode):
        return
    how = "" if model.quantized_by_mode else " by a config or filters"
    raise ValueError(
        f"{function_name}: a quantised model must be quantised by a mode alone, one of {', '.join(MODES)}. "
        f"Got {model.quantized_to!r}{how}."
    )


def store_by_column(model: keras.Model) -> None:
    """Store the int8 kernels of projections as the backend multiplies by them fastest."""
    for layer in with_parts(model.layers):
        if type(layer) is keras.layers.Dense and layer.quantization_mode == "int8":
            backends.active().store_by_column(kernel_of(layer))


def check_quantized_tensors(
    function_name: str, shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, StoredTensor]
) -> None:
    """Refuse a file with less than the weights of those shapes, before quantisation, before memory is allocated."""
    # The built model then checks the exact shapes, and the scales.
    for name, shape in shapes.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise ValueError(f"{function_name}: the tensors must be those of the model. Got no {name}, {shape}.")
        # One number, or two of four bits.
        per_byte = 2 if tensor.dtype == "int8" else 1
        if per_byte * math.prod(tensor.shape) < math.prod(shape):
            raise ValueError(
                f"{function_name}: the tensors must be those of the model. Got {name} of shape {tuple(tensor.shape)} "
                f"and {tensor.dtype}, which should hold {shape}."
            )


def dequantized(function_name: str, tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors with each int8 kernel divided by its scale, in float32."""

    def read(name):
        return tensors[name].read().astype("float32") / tensors[name + SCALE].read()

    plain = {}
    for name, tensor in tensors.items():
        if tensor.dtype == "int8":
            scale = tensors[name + SCALE].shape if name + SCALE in tensors else None
            if scale is None or not _broadcasts(scale, tensor.shape):
                raise ValueError(
                    f"{function_name}: an int8 tensor must have a scale that broadcasts to its shape. "
                    f"Got {name} {tuple(tensor.shape)} and {scale}."
                )
            plain[name] = StoredTensor(tensor.shape, np.dtype("float32"), partial(read, name))
        elif not (name.endswith(SCALE) and name.removesuffix(SCALE) in tensors):
            plain[name] = tensor
    return plain


def _broadcasts(scale, shape) -> bool:
    """Whether an array of the shape `scale` broadcasts to `shape`."""
    last = shape[len(shape) - len(scale) :]
    return len(scale) <= len(shape) and all(n in (1, size) for n, size in zip(scale, last, strict=True))
