"""Models of few bits in presets: what can be saved, and what a file must hold before a model is made for it."""

import math
from collections.abc import Mapping

import keras

from keras_griffin.files import StoredTensor

#: What presets keep, by `quantize` with nothing but the mode.
MODES = ("int8", "int4")


def check_quantization(function_name: str, model: keras.Model) -> None:
    """Refuse to save a model that its mode alone does not make again.

    Args:
        function_name: in whose name the error speaks.
        model: a `LanguageModel`.

    Raises:
        ValueError: it is quantised to something else, or by a config or filters.
    """
    if model.quantized_to is None or (model.quantized_to in MODES and model.quantized_by_mode):
        return
    how = "" if model.quantized_by_mode else " by a config or filters"
    raise ValueError(
        f"{function_name}: a model that is quantised must be so by quantize with one of {', '.join(MODES)} alone. "
        f"Got {model.quantized_to!r}{how}."
    )


def check_quantized_tensors(
    function_name: str, shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, StoredTensor]
) -> None:
    """Refuse a file that holds less than a config asks for, before the memory for it is taken.

    A kernel of int8 holds one number, or two of four bits, in each byte. Whether it has the right shape, and its scales
    beside it, the model knows once it is made.

    Args:
        function_name: in whose name the error speaks.
        shapes: of the model's weights, before it is quantised.
        tensors: the file's.

    Raises:
        ValueError: a weight is missing, or too small.
    """
    for name, shape in shapes.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise ValueError(f"{function_name}: the tensors must be those of the model. Got no {name}, {shape}.")
        per_byte = 2 if tensor.dtype == "int8" else 1
        if per_byte * math.prod(tensor.shape) < math.prod(shape):
            raise ValueError(
                f"{function_name}: the tensors must be those of the model. Got {name} of shape {tuple(tensor.shape)} "
                f"and {tensor.dtype}, which should hold {shape}."
            )
