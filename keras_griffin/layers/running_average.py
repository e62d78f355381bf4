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
    log_weights, last_weight = log_scan(log_decay, keys, start.log_weight, reset=reset, mask=mask)
    before = states_before(log_weights, start.log_weight, reset, NOTHING)
    share = ops.exp(before + log_decay - log_weights)
    # At a masked step the key may be larger than the weight that is kept.
    entering = ops.exp(ops.minimum(keys - log_weights, 0.0)) * values
    averages, last = linear_scan(share, entering, start.average, reset=reset, mask=mask)
    earlier = RunningAverage(states_before(averages, start.average, reset), before)
    return RunningAverage(averages, log_weights), earlier, RunningAverage(last, last_weight)
