"""Marks of few steps, written without holding a mask against every number."""

from torch import Tensor


def may_look(mark: Tensor) -> bool:
    """Whether to look at values costs nothing but their reading; any other device would have to be waited for."""
    return mark.device.type == "cpu"


def places(mark: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and steps at which a mark `(B, T, 1)` stands."""
    return mark[..., 0].nonzero(as_tuple=True)


def fill_(array: Tensor, mark: Tensor, value: float) -> Tensor:
    """Write a value into `(B, T, D)` at the marked steps; returns the array."""
    if not may_look(mark):
        return array.masked_fill_(mark, value)
    array[places(mark)] = value
    return array
