"""On the NumPy backend: one step after the other, with one state in memory."""

import numpy as np

from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs


def supports(facts) -> str | None:
    """Everything on the NumPy backend."""
    return None


def selective_scan(selection: SelectiveScanInputs, initial_state, marks: Marks) -> tuple[np.ndarray, np.ndarray]:
    """The outputs and the last state; see the package."""
    reset, mask = marks
    dtype = initial_state.dtype
    state, rates = initial_state, selection.rates.astype(dtype)
    outputs = np.zeros(selection.inputs.shape, dtype)
    for t in range(outputs.shape[1]):
        u, s, b, c = (x[:, t].astype(dtype) for x in selection if x is not selection.rates)
        past = state if reset is None else np.where(reset[:, t, None], 0.0, state)
        new = np.exp(s[..., None] * rates) * past + (s * u)[..., None] * b[:, None]
        step = np.einsum("bdn,bn->bd", new, c)
        if mask is None:
            state, outputs[:, t] = new, step
        else:
            seen = mask[:, t]
            state, outputs[:, t] = np.where(seen[..., None], new, state), np.where(seen, step, 0.0)
    return outputs, state.astype(dtype)
