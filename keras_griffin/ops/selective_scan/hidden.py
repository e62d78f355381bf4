"""Masked steps, and how most implementations handle them: before they scan."""

import functools

from keras import ops

from keras_griffin.ops.linear_scan.marks import Marks, forgetting
from keras_griffin.ops.selective_scan.selection import Selection
from keras_griffin.shapes import Tensor


def hidden(selection: Selection, reset: Tensor | None, mask: Tensor | None) -> tuple[Selection, Tensor | None]:
    """The selection with zeros at masked steps, without resets there: the decay is one, and nothing enters or leaves.

    Args:
        selection: in any dtypes.
        reset: `(B, T)` bool, or None.
        mask: `(B, T)` bool, or None.
    """
    if mask is None:
        return selection, reset
    seen = ops.expand_dims(mask, -1)
    shown = (x if x is selection.rates else ops.where(seen, x, ops.zeros_like(x)) for x in selection)
    return Selection(*shown), forgetting(Marks(reset, mask))


def on_hidden(scan):
    """The package's `selective_scan` around a scan of `(selection, initial_state, reset)` without a mask."""

    @functools.wraps(scan)
    def selective_scan(selection, initial_state, reset, mask):
        selection, reset = hidden(selection, reset, mask)
        outputs, final_state = scan(selection, initial_state, reset)
        if mask is None:
            return outputs, final_state
        # Zero times a state that is not finite is not zero, nor is it for a gradient.
        return ops.where(ops.expand_dims(mask, -1), outputs, ops.zeros_like(outputs)), final_state

    return selective_scan
