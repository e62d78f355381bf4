"""Where a step stands in time, also where time is divided over devices, inside of JAX's `shard_map`.

What looks along time has one rule for divided time, filled in from `keras_griffin.distribution` as the axis is named.
So a layer that looks along time by these functions and by ops alone needs no second way of its own.
"""

import contextlib
import functools
import threading
from collections.abc import Callable

from keras import ops

from keras_griffin.shapes import Tensor


class _Axis(threading.local):
    """Along which axis of the mesh this thread's calls find time divided; None where it is whole."""

    def __init__(self):
        self.name: str | None = None


_axis = _Axis()
#: By the name of an op: a function of the op's arguments, as the op hands them on, and `axis_name`.
DIVIDED_RULES: dict[str, Callable] = {}


@contextlib.contextmanager
def time_along(axis_name: str | None):
    """Inside the `with` block ops find time divided along an axis of the mesh; whole where it is None."""
    outside = _axis.name
    _axis.name = axis_name
    try:
        yield
    finally:
        _axis.name = outside


def is_divided() -> bool:
    """Whether time is divided now, inside of `shard_map`: each device then has its own part of every tensor."""
    return _axis.name is not None


def divided_rule(op_name: str) -> Callable | None:
    """How an op runs now if time is divided, its axis bound; None where time is whole.

    Raises:
        ValueError: time is divided, and the op has no rule for that.
    """
    if not is_divided():
        return None
    if op_name not in DIVIDED_RULES:
        raise ValueError(
            f"{op_name}: where time is divided over devices, an op must have a rule for that, as "
            f"{', '.join(sorted(DIVIDED_RULES))} have. Got {op_name!r} without one."
        )
    return functools.partial(DIVIDED_RULES[op_name], axis_name=_axis.name)


def positions(length) -> Tensor:
    """The number of each of `length` steps, counted from the first of the whole sequence: `(T,)` int32."""
    rule = divided_rule("positions")
    return ops.arange(length, dtype="int32") if rule is None else rule(length)


def running_count(marks: Tensor) -> Tensor:
    """How many of `marks (B, T)`, bool, are True up to each step, from the first of the whole sequence: int32."""
    counted = ops.cast(marks, "int32")
    rule = divided_rule("running_count")
    return ops.cumsum(counted, axis=1) if rule is None else rule(counted)
