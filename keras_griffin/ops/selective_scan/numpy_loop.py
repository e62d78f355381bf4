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
        state = new if mask is None else np.where(mask[:, t, None], new, state)
        outputs[:, t] = np.einsum("bdn,bn->bd", new, c)
    return outputs if mask is None else np.where(mask, outputs, 0.0), state.astype(dtype)
