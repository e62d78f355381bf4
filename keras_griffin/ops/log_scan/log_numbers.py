"""Arithmetic on logarithms: times is a sum, plus the logarithm of a sum of exponentials, and zero is -inf."""

from keras import ops

from keras_griffin.ops.recurrence.marks import Marks, zero_where
from keras_griffin.ops.recurrence.numbers import Components, Semiring, add
from keras_griffin.shapes import Tensor

#: A state that holds nothing. Not -inf: the difference of two such states is 0, and that of infinities would be NaN.
NOTHING = -1e30
_ZERO = -float("inf")


def log_add(first: Tensor, second: Tensor) -> Tensor:
    """log(exp(first) + exp(second)) of numbers below infinity.

    It selects instead of calling `maximum`, whose derivative differs between backends where both are equal.
    """
    is_first = first >= second
    larger, smaller = ops.where(is_first, first, second), ops.where(is_first, second, first)
    # Infinity minus infinity is NaN.
    difference = smaller - ops.where(larger > _ZERO, larger, 0.0)
    return larger + ops.log1p(ops.exp(difference))


def _plus(first: Components, second: Components) -> Components:
    return (log_add(first[0], second[0]),)


LOG = Semiring(_plus, add, _ZERO, 0.0)


def apply_marks(decay: Tensor, inputs: Tensor, marks: Marks, dtype: str) -> tuple[Tensor, Tensor]:
    """Decay and inputs with the marks applied: -inf and x at a reset, 0 and -inf at a masked step.

    The state before a reset is nothing: x is at least that there.

    Args:
        decay: `(B, T, D)`.
        inputs: `(B, T, D)`.
        marks: resets and mask.
        dtype: of the results.
    """
    decay, inputs = (ops.convert_to_tensor(x, dtype) for x in (decay, inputs))
    if marks.reset is not None:
        decay = ops.where(marks.reset, _ZERO, decay)
        inputs = ops.where(ops.logical_and(marks.reset, inputs < NOTHING), NOTHING, inputs)
    if marks.mask is not None:
        decay = ops.where(marks.mask, decay, 0.0)
        inputs = ops.where(marks.mask, inputs, _ZERO)
    return decay, inputs


def log_odds(past: Tensor, inputs: Tensor) -> Tensor:
    """a - x. The sigmoid of it is the share of the past in log(exp(a) + exp(x)), its derivative by a.

    Args:
        past: a, the state before a step and its decay.
        inputs: x; where it is -inf, the past is all there is.
    """
    adds = inputs > _ZERO
    # Infinity minus infinity is NaN.
    return ops.where(adds, past - ops.where(adds, inputs, 0.0), -_ZERO)


def all_log_odds(
    decay: Tensor, inputs: Tensor, states: Tensor, initial_state: Tensor, forgotten: Tensor | None
) -> Tensor:
    """`log_odds` of every step of a scan.

    Args:
        decay: with the marks applied, as all others.
        inputs: see `decay`.
        states: every L_t.
        initial_state: L_0.
        forgotten: from `forgetting`.
    """
    before = ops.concatenate([initial_state[:, None], states], axis=1)[:, :-1]
    (past,) = zero_where(forgotten, LOG.times((before,), (decay,)), LOG.zero)
    return log_odds(past, inputs)
