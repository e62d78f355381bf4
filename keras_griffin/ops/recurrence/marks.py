"""Resets and masks of steps, and how most implementations handle them: before they scan."""

import functools
from typing import NamedTuple

from keras import ops

from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.shapes import Tensor


class Marks(NamedTuple):
    """Resets and mask of a sequence, each `(B, T, 1)` bool, or None."""

    reset: Tensor | None
    mask: Tensor | None


def marks_of_steps(reset: Tensor | None, mask: Tensor | None) -> Marks:
    """The user's marks, `(B, T)`, with an axis for the channels."""
    return Marks(*(None if mark is None else ops.expand_dims(mark, -1) for mark in (reset, mask)))


def apply_marks(decay: Components, inputs: Components, marks: Marks, dtype: str) -> tuple[Components, Components]:
    """`decay, inputs: (B, T, D)` in `dtype` with the marks applied: 0 and x at a reset, 1 and 0 at a masked step."""
    decay, inputs = (tuple(ops.convert_to_tensor(x, dtype) for x in number) for number in (decay, inputs))
    if marks.reset is not None:
        decay = tuple(ops.where(marks.reset, 0.0, a) for a in decay)
    if marks.mask is not None:
        decay = tuple(ops.where(marks.mask, a, one) for a, one in zip(decay, (1.0, 0.0), strict=False))
        inputs = tuple(ops.where(marks.mask, x, 0.0) for x in inputs)
    return decay, inputs


def forgetting(marks: Marks) -> Tensor | None:
    """Where the past is forgotten, shaped as in `Marks`: at resets that are not masked; None if there are no resets."""
    # Not inferred from the decays: a decay of 0, or a product that underflows, keeps a value that is not finite.
    if marks.reset is None or marks.mask is None:
        return marks.reset
    return ops.logical_and(marks.reset, marks.mask)


def zero_where(forgotten: Tensor | None, number: Components, zero: float = 0.0) -> Components:
    """The number, but zero where it is `forgotten`: 0 times NaN is NaN, so a decay of 0 is not enough."""
    return number if forgotten is None else tuple(ops.where(forgotten, zero, x) for x in number)


def with_marks_applied(scan):
    """The package's `linear_scan` around a scan of `(decay, inputs, initial_state, forgotten, reverse)` in one dtype.

    `forgotten` comes from `forgetting`; where it is True, the decay is 0.
    """

    @functools.wraps(scan)
    def linear_scan(decay, inputs, initial_state, marks, reverse):
        decay, inputs = apply_marks(decay, inputs, marks, initial_state[0].dtype)
        return scan(decay, inputs, initial_state, forgetting(marks), reverse)

    return linear_scan
