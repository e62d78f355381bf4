"""Arithmetic on numbers stored as tuples of real tensors: `(real,)` or `(real, imaginary)`.

It uses plain operators only, which every backend's tensors have.
"""

from keras_griffin.shapes import Tensor

Components = tuple[Tensor, ...]


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
