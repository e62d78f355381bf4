"""Arithmetic on logarithms: times is a sum, plus the logarithm of a sum of exponentials, and zero is -inf."""

from collections.abc import Callable

from keras import ops

from keras_griffin.ops.log_scan.reference import NOTHING
from keras_griffin.ops.recurrence.marks import Marks, forgetting, zero_where
from keras_griffin.ops.recurrence.numbers import Components, Semiring, add
from keras_griffin.shapes import Tensor

_ZERO = -float("inf")


def _plus(first: Components, second: Components) -> Components:
    """log(exp(first) + exp(second)) of numbers below infinity."""
    (a,), (b,) = first, second
    # Not `maximum`, whose derivative differs between backends where both are equal.
    is_first = a >= b
    larger, smaller = ops.where(is_first, a, b), ops.where(is_first, b, a)
    # Infinity minus infinity is NaN.
    difference = smaller - ops.where(larger > _ZERO, larger, 0.0)
    return (larger + ops.log1p(ops.exp(difference)),)


LOG = Semiring(_plus, add, _ZERO, 0.0)


def apply_marks(decay: Tensor, inputs: Tensor, marks: Marks, dtype: str) -> tuple[Tensor, Tensor]:
    """`decay, inputs: (B, T, D)` in `dtype` with the marks applied: -inf and x at a reset, 0 and -inf if masked."""
    decay, inputs = (ops.convert_to_tensor(x, dtype) for x in (decay, inputs))
    if marks.reset is not None:
        decay = ops.where(marks.reset, _ZERO, decay)
        # The state before a reset is nothing: x is at least that.
        inputs = ops.where(ops.logical_and(marks.reset, inputs < NOTHING), NOTHING, inputs)
    if marks.mask is not None:
        decay = ops.where(marks.mask, decay, 0.0)
        inputs = ops.where(marks.mask, inputs, _ZERO)
    return decay, inputs


def scanned(scan: Callable, semiring: Semiring = LOG) -> Callable:
    """The package's `log_scan` around a scan of any semiring, such as `prefix.scan`."""

    def log_scan(decay, inputs, initial_state, marks):
        """Every state and the last one; see the package."""
        decay, inputs = apply_marks(decay, inputs, marks, initial_state.dtype)
        numbers = (decay,), (inputs,), (initial_state,)
        (states,), (final_state,) = scan(*numbers, forgetting(marks), reverse=False, semiring=semiring)
        return states, final_state

    return log_scan


def log_odds(decay: Tensor, inputs: Tensor, states: Tensor, initial_state: Tensor, forgotten: Tensor | None) -> Tensor:
    """L_{t-1} + d_t - x_t of every step, whose sigmoid is the derivative of L_t by L_{t-1}, after the marks."""
    before = ops.concatenate([initial_state[:, None], states], axis=1)[:, :-1]
    (past,) = zero_where(forgotten, LOG.times((before,), (decay,)), LOG.zero)
    adds = inputs > _ZERO
    # Infinity minus infinity is NaN.
    return ops.where(adds, past - ops.where(adds, inputs, 0.0), -_ZERO)


def gradient_by(
    scan_gradient: Callable,
    decay: Tensor,
    inputs: Tensor,
    states: Tensor,
    initial_state: Tensor,
    forgotten: Tensor | None,
    gradients: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients for decay, inputs and initial state, by the gradient of `linear_scan` with the past's shares."""
    odds = log_odds(decay, inputs, states, initial_state, forgotten)
    past, given = ops.sigmoid(odds), tuple((gradient,) for gradient in gradients)
    _, (flow,), (into_start,) = scan_gradient((past,), (states,), (initial_state,), forgotten, given, False)
    (into_decay,) = zero_where(forgotten, (flow * past,))
    return into_decay, flow * ops.sigmoid(-odds), into_start
