"""The arguments of an implementation of `selective_scan`, and how most handle masked steps: before they scan."""

import functools
from typing import NamedTuple

from keras import ops

from keras_griffin.ops.recurrence.marks import Marks, forgetting
from keras_griffin.shapes import Tensor


class SelectiveScanInputs(NamedTuple):
    """The tensors that determine decays, gated inputs and outputs; their gradients are a `SelectiveScanInputs` too."""

    #: u, `(B, T, D)`.
    inputs: Tensor
    #: s, `(B, T, D)`.
    step_sizes: Tensor
    #: A, `(D, N)`.
    rates: Tensor
    #: b, `(B, T, N)`.
    input_weights: Tensor
    #: c, `(B, T, N)`.
    output_weights: Tensor

    def map_sequences(self, function) -> "SelectiveScanInputs":
        """A function of each sequence; the rates are as they were."""
        return SelectiveScanInputs(*(x if x is self.rates else function(x) for x in self))


def apply_mask(selection: SelectiveScanInputs, marks: Marks) -> tuple[SelectiveScanInputs, Tensor | None]:
    """The selection with zeros at masked steps, where the decay is then one, and where the state is reset, `(B, T)`."""
    reset = forgetting(marks)
    if marks.mask is not None:
        selection = selection.map_sequences(lambda x: ops.where(marks.mask, x, ops.zeros_like(x)))
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
