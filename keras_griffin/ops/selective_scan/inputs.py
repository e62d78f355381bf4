"""The arguments of an implementation of `selective_scan`, and how most handle masked steps: before they scan."""

import functools
from typing import NamedTuple

from keras import ops

from keras_griffin.ops.recurrence.marks import forgetting
from keras_griffin.shapes import Tensor


class SelectiveScanInputs(NamedTuple):
    """The tensors that determine decays, gated inputs and outputs; their gradients are a `SelectiveScanInputs` too."""

    inputs: Tensor  # u, `(B, T, D)`
    step_sizes: Tensor  # s, `(B, T, D)`
    rates: Tensor  # A, `(D, N)`
    input_weights: Tensor  # b, `(B, T, N)`
    output_weights: Tensor  # c, `(B, T, N)`

    def map_sequences(self, function) -> "SelectiveScanInputs":
        """A function of each sequence; the rates are as they were."""
        return SelectiveScanInputs(*(x if x is self.rates else function(x) for x in self))


def with_mask_applied(scan):
    """The package's `selective_scan` around a scan of `(selection, initial_state, reset)`, `(B, T)`, without a mask.

    Masked steps are zeros in every sequence, so the decay is one there and nothing enters.
    """

    @functools.wraps(scan)
    def selective_scan(selection, initial_state, marks):
        def shown(x):
            return x if marks.mask is None else ops.where(marks.mask, x, ops.zeros_like(x))

        reset = forgetting(marks)
        reset = None if reset is None else ops.squeeze(reset, -1)
        outputs, final_state = scan(selection.map_sequences(shown), initial_state, reset)
        # Zero times a state that is not finite is not zero, nor is it for a gradient.
        return shown(outputs), final_state

    return selective_scan
