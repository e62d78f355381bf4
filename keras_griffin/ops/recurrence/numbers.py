"""Numbers as tuples of real tensors, `(real,)` or `(real, imaginary)`: arithmetic by plain operators, conversion."""

from collections.abc import Callable
from typing import NamedTuple, overload

from keras_griffin.ops.shared.arguments import as_tensor, dtype_of
from keras_griffin.shapes import Tensor

Components = tuple[Tensor, ...]
Number = Tensor | tuple[Tensor, Tensor]


def add(first: Components, second: Components) -> Components:
    """The sum."""
    return tuple(a + b for a, b in zip(first, second, strict=True))


def multiply(first: Components, second: Components) -> Components:
    """The product."""
    if len(first) == 1:
        return (first[0] * second[0],)
    (a, b), (c, d) = first, second
    return a * c - b * d, a * d + b * c


def conjugate(number: Components) -> Components:
    """The complex conjugate; a real number is its own."""
    return (*number[:1], *(-imaginary for imaginary in number[1:]))


class Semiring(NamedTuple):
    """Operations on components; `plus` and `times` are associative, and `times` distributes over `plus`."""

    plus: Callable[[Components, Components], Components]
    times: Callable[[Components, Components], Components]
    #: The real number that `plus` ignores, a state without a past.
    zero: float
    #: The real number that `times` ignores.
    one: float


LINEAR = Semiring(add, multiply, 0.0, 1.0)


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


def accumulation_dtype(inputs: Components) -> str:
    """The dtype in which a scan of such inputs accumulates."""
    return "float64" if dtype_of(inputs[0]) == "float64" else "float32"
