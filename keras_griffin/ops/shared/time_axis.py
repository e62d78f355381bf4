"""Positions in time, also where time is divided over devices, inside JAX's `shard_map`.

Each op that looks along time has one rule for divided time, which `keras_griffin.distribution` registers; layers need
no code for it.
"""

import contextlib
import functools
import threading
from collections.abc import Callable

from keras import ops

from keras_griffin.shapes import Tensor


class _Axis(threading.local):
    """The axis of the mesh along which time is divided in this thread; None if time is whole."""

    def __init__(self):
        self.name: str | None = None


_axis = _Axis()
#: By the name of an op: a function of the op's arguments, as the op passes them on, and `axis_name`.
DIVIDED_RULES: dict[str, Callable] = {}


@contextlib.contextmanager
def time_along(axis_name: str | None):
    """Inside the `with` block, time is divided along an axis of the mesh; it is whole for None."""
    outside = _axis.name
    _axis.name = axis_name
    try:
        yield
    finally:
        _axis.name = outside


def is_divided() -> bool:
    """Whether time is divided now, inside `shard_map`: each device then has its own part of every tensor."""
    return _axis.name is not None


def divided_rule(op_name: str) -> Callable | None:
    """The op's rule for divided time, with its axis bound; None if time is whole; an error if there is no rule."""
    if not is_divided():
        return None
    if op_name not in DIVIDED_RULES:
        raise ValueError(
            f"{op_name}: an op must have a rule for time divided over devices, as "
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


def state_before(states: Tensor, start: Tensor) -> Tensor:
    """The state before `states (B, T, ...)`, `(B, 1, ...)`: the start, if their first step is that of the sequence."""
    rule = divided_rule("state_before")
    return start if rule is None else rule(states, start)
