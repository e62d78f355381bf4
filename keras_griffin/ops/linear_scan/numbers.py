"""Conversion of a caller's numbers, a tensor or a pair `(real, imaginary)`, to tuples of components and back."""

from collections.abc import Sequence
from typing import overload

import keras
from keras import ops

from keras_griffin.ops.arguments import as_tensor
from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.shapes import Tensor

Number = Tensor | tuple[Tensor, Tensor]


@overload
def components_of(number: None) -> None: ...


@overload
def components_of(number: Number) -> Components: ...


def components_of(number: Number | None) -> Components | None:
    """The tensors `(real,)` or `(real, imaginary)`; None stays None."""
    if number is None:
        return None
    return tuple(as_tensor(part) for part in number) if isinstance(number, tuple | list) else (as_tensor(number),)


def number_of(components: Components) -> Number:
    """The inverse of `components_of`."""
    return (components[0], components[1]) if len(components) == 2 else components[0]


def cast(components: Sequence[Tensor], dtype: str) -> Components:
    """The components in a dtype."""
    return tuple(ops.convert_to_tensor(component, dtype) for component in components)


def accumulation_dtype(inputs: Components) -> str:
    """The dtype in which a scan of such inputs accumulates."""
    return "float64" if keras.backend.standardize_dtype(inputs[0].dtype) == "float64" else "float32"
