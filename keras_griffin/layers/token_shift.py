"""Sequences moved by a step or more, exact at resets, masked steps and cuts."""

import numpy as np
from keras import ops

from keras_griffin.ops.causal_conv import causal_conv
from keras_griffin.ops.shared.time_axis import state_before
from keras_griffin.shapes import Tensor


def taps_of(
    inputs: Tensor, earlier: Tensor, reset: Tensor | None, mask: Tensor | None
) -> tuple[tuple[Tensor, ...], Tensor]:
    """`inputs (B, T, D)` at each tap of a causal convolution, K - 1 steps ago to now, and `earlier` for the next call.

    `earlier (B, K - 1, D)` are the newest inputs before, oldest first. Before the start, or a reset, there are zeros;
    masked steps are skipped.
    """
    taps = earlier.shape[1] + 1
    if taps == 1:
        return (inputs,), earlier
    if inputs.shape[1] == 1 and reset is None and mask is None:
        # A step of decoding, without arithmetic.
        before = tuple(earlier[:, tap : tap + 1] for tap in range(taps - 1))
        return (*before, inputs), ops.concatenate([*before[1:], inputs], axis=1) if taps > 2 else inputs
    seen, newest = [], earlier
    for tap in np.eye(taps, dtype="float32")[:-1]:
        kernel = ops.cast(np.tile(tap[:, None], (1, inputs.shape[-1])), inputs.dtype)
        moved, newest = causal_conv(inputs, kernel, None, earlier, reset=reset, mask=mask)
        seen.append(moved)
    return (*seen, inputs), newest


def states_before(states: Tensor, start: Tensor, reset: Tensor | None, nothing: float = 0.0) -> Tensor:
    """The state before each step, from those after, `(B, T, D)`, and the first, `(B, D)`; `nothing` before a reset."""
    start = state_before(states, ops.cast(ops.expand_dims(start, 1), states.dtype))
    before = start if states.shape[1] == 1 else ops.concatenate([start, states], axis=1)[:, :-1]
    return before if reset is None else ops.where(ops.expand_dims(reset, -1), nothing, before)
