"""What is not finite stays in its document, though a matrix product mixes all steps of a chunk."""

import functools
from collections.abc import Callable

from keras import ops

from keras_griffin.ops.recurrence import prefix
from keras_griffin.ops.recurrence.marks import forgetting
from keras_griffin.ops.recurrence.numbers import LINEAR
from keras_griffin.ops.shared.arguments import dtype_of
from keras_griffin.ops.shared.change_gradient import change_gradient
from keras_griffin.ops.shared.finite import finite_steps


def contained(scan: Callable) -> Callable:
    """An implementation of a `ScanOp` around `scan(*sequences, initial_state, reset)`, which meets finite numbers only.

    A step that is masked or not finite is zeros in every sequence, which must be a step that changes nothing. `reset`
    is `(B, T)` bool or None. Outputs and gradients are NaN where they depend on a step that is not finite, or whose
    norm is 1e14 or more, and only there: zero times NaN is NaN, so products can't tell.
    """

    @functools.wraps(scan)
    def run(*arguments):
        *sequences, start, marks = arguments
        reset, mask = (None if mark is None else mark[..., 0] for mark in (forgetting(marks), marks.mask))
        given = [x for x in sequences if x is not None]
        whole = functools.reduce(ops.logical_and, map(finite_steps, given))
        whole_start = finite_steps(start[:, None])
        lost, lost_end = _later(_not(whole, mask), _not(whole_start), reset)
        real = whole if mask is None else ops.logical_and(whole, mask)
        clean = (None if x is None else _where(real, x, 0) for x in sequences)
        outputs, final_state = scan(*clean, _where(whole_start[:, 0], start, 0), reset)
        outputs = _where(ops.logical_not(lost), outputs, float("nan"))
        outputs = outputs if mask is None else _where(mask, outputs, 0)
        final_state = _where(ops.logical_not(lost_end), final_state, float("nan"))
        rule = functools.partial(_gradient_rule, tuple(map(dtype_of, (*given, start))))
        return change_gradient(rule, (outputs, final_state), (*given, start), (reset, mask))

    return run


def _gradient_rule(dtypes, cotangents, shapes, reset, mask):
    """A step's cotangent that is not finite makes the gradients NaN for the steps on which its output depends."""
    of_outputs, of_final = cotangents
    whole, whole_final = finite_steps(of_outputs), finite_steps(of_final[:, None])
    touched, touched_start = _earlier(_not(whole, mask), _not(whole_final), reset)
    touched = touched if mask is None else ops.logical_and(touched, mask)
    marked = [touched] * (len(shapes) - 1) + [touched_start]
    gradients = (
        ops.broadcast_to(_like(ops.cast(ops.where(where, float("nan"), 0.0), dtype), shape), shape)
        for where, shape, dtype in zip(marked, shapes, dtypes, strict=True)
    )
    return (_where(whole, of_outputs, 0), _where(whole_final[:, 0], of_final, 0)), *gradients


def _later(lost, lost_start, reset):
    """The steps `(B, T)` with a lost one before or at them, in their document; and the rows `(B,)` that end so."""
    return _spread(lost, lost_start, reset, False)


def _earlier(lost, lost_end, reset):
    """The steps with a lost one after or at them, in their document; and the rows that start so."""
    if reset is None:
        return _spread(lost, lost_end, None, True)
    steps, _ = _spread(lost, lost_end, ops.concatenate([reset[:, 1:], ops.zeros_like(reset[:, :1])], axis=1), True)
    return steps, ops.logical_and(steps[:, 0], ops.logical_not(reset[:, 0]))


def _spread(lost, first, forgotten, reverse):
    numbers = ops.cast(lost, "float32")[..., None]
    decay = ops.ones_like(numbers)
    if forgotten is not None:
        forgotten = forgotten[..., None]
        decay = ops.where(forgotten, 0.0, decay)
    (counts,), (last,) = prefix.scan(
        (decay,), (numbers,), (ops.cast(first, "float32"),), forgotten, reverse=reverse, semiring=LINEAR
    )
    return counts[..., 0] > 0.0, last[:, 0] > 0.0


def _not(whole, mask=None):
    lost = ops.logical_not(whole)
    return lost if mask is None else ops.logical_and(lost, mask)


def _where(keep, x, other):
    return ops.where(_like(keep, x.shape), x, ops.cast(other, x.dtype))


def _like(mark, shape):
    """A mark of rows, or of rows and steps, with further axes."""
    return ops.expand_dims(mark, tuple(range(len(mark.shape), len(shape))))
