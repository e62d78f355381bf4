"""Masked steps, and how most implementations handle them: before they scan."""

import functools

from keras import ops

from keras_griffin.ops.recurrence.marks import Marks, forgetting
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.shapes import Tensor


def apply_mask(selection: SelectiveScanInputs, marks: Marks) -> tuple[SelectiveScanInputs, Tensor | None]:
    """The selection with zeros at masked steps, where the decay is then one, and where the state is reset, `(B, T)`."""
    reset = forgetting(marks)
    if marks.mask is not None:
        shown = (x if x is selection.rates else ops.where(marks.mask, x, ops.zeros_like(x)) for x in selection)
        selection = SelectiveScanInputs(*shown)
    return selection, None if reset is None else ops.squeeze(reset, -1)


def with_mask_applied(scan):
    """The package's `selective_scan` around a scan of `(selection, initial_state, reset)` without a mask."""

    @functools.wraps(scan)
    def selective_scan(selection, initial_state, marks):
        selection, reset = apply_mask(selection, marks)
        outputs, final_state = scan(selection, initial_state, reset)
        if marks.mask is None:
            return outputs, final_state
        # Zero times a state that is not finite is not zero, nor is it for a gradient.
        return ops.where(marks.mask, outputs, ops.zeros_like(outputs)), final_state

    return selective_scan
