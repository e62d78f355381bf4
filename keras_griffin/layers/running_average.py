"""The core of AFT and RWKV-4: an average over time with positive weights."""

from typing import NamedTuple

from keras import ops

from keras_griffin.layers.token_shift import states_before
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.ops.log_scan import log_scan
from keras_griffin.ops.log_scan.log_numbers import NOTHING
from keras_griffin.shapes import Tensor


class RunningAverage(NamedTuple):
    """An average and the logarithm of the sum of its weights; each `(B, T, D)`, or `(B, D)` for one step."""

    #: s, the average.
    average: Tensor
    #: L, the logarithm of the sum of the weights; -1e30 before the first.
    log_weight: Tensor


def log_shares(
    log_decay: Tensor, keys: Tensor, start: Tensor, reset: Tensor | None, mask: Tensor | None
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
    """L after and before each step, and the last; and the logarithms of the shares of the past and the step in L.

    L_t = log(exp(L_{t-1} + d_t) + exp(k_t))
    g_t = exp(L_{t-1} + d_t - L_t) = sigmoid(L_{t-1} + d_t - k_t)
    """
    log_weights, last = log_scan(log_decay, keys, start, reset=reset, mask=mask)
    before = states_before(log_weights, start, reset, NOTHING)
    # The difference of two L would have a rounding error of their size, however slow the decay.
    odds = before + log_decay - keys
    return (log_weights, before, last), ops.log_sigmoid(odds), ops.log_sigmoid(-odds)


def running_average(
    log_decay: Tensor,
    keys: Tensor,
    values: Tensor,
    start: RunningAverage,
    reset: Tensor | None,
    mask: Tensor | None,
) -> tuple[RunningAverage, RunningAverage, RunningAverage]:
    """The averages after and before each step, and the last: of values with weights exp(k_t), decayed by exp(d_t).

        L_t = log(exp(L_{t-1} + d_t) + exp(k_t))
        s_t = g_t s_{t-1} + (1 - g_t) v_t,  g_t = exp(L_{t-1} + d_t - L_t)

    No exponential is of a positive number, and s is a convex combination of values, so nothing overflows. d, k and v
    are `(B, T, D)` float32.
    """
    (log_weights, before, last_weight), past, present = log_shares(log_decay, keys, start.log_weight, reset, mask)
    averages, last = linear_scan(ops.exp(past), ops.exp(present) * values, start.average, reset=reset, mask=mask)
    earlier = RunningAverage(states_before(averages, start.average, reset), before)
    return RunningAverage(averages, log_weights), earlier, RunningAverage(last, last_weight)
