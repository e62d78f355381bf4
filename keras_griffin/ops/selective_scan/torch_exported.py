"""In programs that PyTorch exports: one `scan` that holds the state of all numbers, and the outputs' sum."""

import torch

from keras_griffin.ops.recurrence.torch_exported import over_steps, supports, time_first  # noqa: F401
from keras_griffin.ops.selective_scan.inputs import with_mask_applied


def _step(state, inputs, sizes, b, c, rates, *forgotten):
    (past,) = state
    past = torch.where(forgotten[0], 0.0, past) if forgotten else past
    state = torch.exp(sizes[..., None] * rates) * past + (sizes * inputs)[..., None] * b[:, None]
    return (state,), ((state * c[:, None]).sum(-1),)


@with_mask_applied
def selective_scan(selection, initial_state, reset):
    """The outputs and the last state; see the package."""
    inputs, sizes, rates, b, c = (x.to(initial_state.dtype) for x in selection)
    sequences = [time_first(x) for x in (inputs, sizes, b, c)]
    # The node's body closes over no tensor.
    sequences.append(rates.expand(sequences[0].shape[0], *rates.shape))
    if reset is not None:
        sequences.append(time_first(reset)[..., None, None])
    (last,), (outputs,) = over_steps(_step, (initial_state,), sequences)
    return time_first(outputs, back=True), last
