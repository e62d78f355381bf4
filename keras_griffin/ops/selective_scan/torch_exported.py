"""In programs that PyTorch exports: one `scan` that holds the state of all numbers, and the outputs' sum."""

import torch

from keras_griffin.ops.recurrence.torch_exported import over_marked_steps, supports  # noqa: F401


def selective_scan(selection, initial_state, marks):
    """The outputs and the last state; see the package."""
    inputs, sizes, rates, b, c = (x.to(initial_state.dtype) for x in selection)

    def step(state, inputs, sizes, b, c):
        state = torch.exp(sizes[..., None] * rates) * state + (sizes * inputs)[..., None] * b[:, None]
        return (state * c[:, None]).sum(-1), state

    return over_marked_steps(step, initial_state, (inputs, sizes, b, c), marks)
