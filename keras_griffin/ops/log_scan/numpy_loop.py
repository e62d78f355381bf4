"""On the NumPy backend: one step after the other."""

import numpy as np

from keras_griffin.ops.log_scan.log_numbers import NOTHING


def supports(facts) -> str | None:
    """Everything on the NumPy backend."""
    return None


def log_scan(decay, inputs, initial_state, marks):
    """Every state and the last one; see the package."""
    decay, inputs = (np.asarray(x, initial_state.dtype) for x in (decay, inputs))
    nothing, state = initial_state.dtype.type(NOTHING), initial_state
    states = np.empty_like(inputs)
    for t in range(inputs.shape[1]):
        past, x = state + decay[:, t], inputs[:, t]
        if marks.reset is not None:
            past = np.where(marks.reset[:, t], nothing, past)
        following = np.maximum(past, x) + np.log1p(np.exp(-np.abs(past - x)))
        state = following if marks.mask is None else np.where(marks.mask[:, t], following, state)
        states[:, t] = state
    return states, state
