"""One call of an op for tests and timings: its inputs and its right results, in NumPy and float64.

`ops/<op>/cases.py` holds `CASES`, the calls on which every implementation of an op is tested, and `timed(device)`, the
calls on which it is timed on a device; `explain` shows the choice for the first of these.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from keras import ops

from keras_griffin.shapes import Tensor

#: What stands for a field in a case's name; otherwise its own name.
LETTERS = {
    **{"rows": "n", "batch_size": "B", "length": "T", "span": "S", "window": "W", "width": "D", "numbers": "N"},
    **{"num_heads": "N", "num_key_heads": "K", "channels": "H", "blocks": "G", "units": "U", "vocabulary_size": "V"},
    "soft_cap": "c",
    "dtype": "",
}


class Argument(NamedTuple):
    """An input tensor of a call, with a gradient."""

    #: float64, rounded to numbers that the dtype can hold; NaN where the op must not read.
    values: np.ndarray
    dtype: str


class Functions(NamedTuple):
    """An op and its definition, functions of `(*arrays, **options)`; the gradient's first arrays are the weights."""

    op: Callable
    definition: Callable
    gradient: Callable


class Case(abc.ABC):
    """The specification of one call. Subclasses are frozen dataclasses.

    A complex number is two arguments or two results. A subclass sets `functions`, or defines `call`, `definition` and
    `gradients` itself.
    """

    functions: ClassVar[Functions]
    #: The dtype of the tensor that decides on an implementation.
    dtype: str
    #: How many arrays like the first tensor a call moves, forward and with its gradient; None for compute-bound ops.
    moved: ClassVar[tuple[int, int] | None] = None

    def __str__(self) -> str:
        """Such as `T65-B3-D5-float32-mask`: the sizes, the dtype, and other fields that differ from their defaults."""
        words = []
        for name, value in vars(self).items():
            differs = value != getattr(type(self), name, None)
            if isinstance(value, bool):
                if differs:
                    words.append("no_" * (not value) + name.removeprefix("has_").removeprefix("is_"))
            elif isinstance(value, int | str) or differs:
                words.append(f"{LETTERS.get(name, name)}{value}")
        return "-".join(words)

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor that decides on an implementation, one of the op's."""

    @property
    def options(self) -> dict[str, Any]:
        """The op's other arguments."""
        return {}

    @abc.abstractmethod
    def arguments(self) -> list[Argument]:
        """The input tensors, the same at every call."""

    def call(self, *tensors: Tensor) -> list[Tensor]:
        """Call the op on tensors of the arguments' dtypes."""
        return _listed(self.functions.op(*tensors, **self.options))

    def definition(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """The results, by the op's reference."""
        return _listed(self.functions.definition(*arrays, **self.options))

    def gradients(self, weights: list[np.ndarray], *arrays: np.ndarray) -> list[np.ndarray]:
        """The gradients of sum(weights * results) for each argument, by the op's reference."""
        return _listed(self.functions.gradient(*weights, *arrays, **self.options))

    @property
    def accumulation_dtype(self) -> str:
        """The dtype in which the op accumulates."""
        return "float64" if self.dtype == "float64" else "float32"

    @property
    def result_dtypes(self) -> list[str]:
        """The dtypes of the results."""
        return [self.dtype]

    @property
    def precisions(self) -> list[str]:
        """The dtypes to whose rounding the results must be right."""
        return self.result_dtypes

    @property
    def gradient_precision(self) -> str:
        """The dtype to whose rounding the gradients must be right."""
        return self.dtype

    def run(self, *tensors: Tensor) -> list[Tensor]:
        """`call` with tensors of any floating dtype."""
        dtypes = [argument.dtype for argument in self.arguments()]
        return self.call(*(ops.cast(x, dtype) for x, dtype in zip(tensors, dtypes, strict=True)))

    def normal_arguments(self, *shapes: tuple[int, ...]) -> list[Argument]:
        """Arguments of normal numbers, in the case's dtype."""
        generator = np.random.default_rng(0)
        return [Argument(rounded(generator.normal(size=shape), self.dtype), self.dtype) for shape in shapes]


def _listed(results):
    return list(results) if isinstance(results, tuple) else [results]


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """The array in float64, with no more bits than the dtype holds."""
    if dtype == "bfloat16":
        return (array.astype("float32").view("uint32") & 0xFFFF0000).view("float32").astype("float64")
    return array.astype(dtype).astype("float64")


def parts(number: np.ndarray) -> list[np.ndarray]:
    """A real or complex array as its components."""
    return [number.real, number.imag] if np.iscomplexobj(number) else [number]


def whole(components: list[np.ndarray]) -> np.ndarray:
    """The real or complex array with these components."""
    real, *imaginary = components
    return real + 1j * imaginary[0] if imaginary else real
