"""The definition of `linear_scan` and of its gradient: NumPy in float64, one step after the other.

Numbers are NumPy's complex numbers; a pair of real tensors has the two parts of the gradients below.
"""

import numpy as np

from keras_griffin.ops.recurrence.numbers import Components


def definition(decay, inputs, initial_state=None, *, reset=None, mask=None, reverse=False):
    """Every state of h_t = a_t h_{t-1} + x_t.

    `decay`, `inputs`: (B, T, D), real or complex; `initial_state`: (B, D), None for zeros; `reset`, `mask`: (B, T). The
    results are states and final state, float64 or complex128.
    """
    decay, inputs, forgotten = apply_marks(decay, inputs, reset, mask)
    states = np.empty_like(inputs)
    state = np.zeros_like(inputs, shape=(inputs.shape[0], inputs.shape[2]))
    if initial_state is not None:
        state = state + initial_state
    for t in _steps(inputs, reverse):
        state = decay[:, t] * np.where(forgotten[:, t], 0.0, state) + inputs[:, t]
        states[:, t] = state
    return states, state


def linear_scan_gradient(
    decay, inputs, initial_state, states_gradient, final_gradient, *, reset=None, mask=None, reverse=False
):
    """The gradients for decay, inputs and initial state, from the gradients for states and final state.

    With g_t the gradient for h_t, the last of which includes the final state's,

        dx_t = g_t + conj(a_{t+1}) dx_{t+1}        da_t = dx_t conj(h_{t-1})        dh_0 = conj(a_1) dx_1

    A reset at step t makes da_t, and the gradient passed back from dx_t, zero even where they are not finite.
    """
    states, _ = definition(decay, inputs, initial_state, reset=reset, mask=mask, reverse=reverse)
    decay, inputs, forgotten = apply_marks(decay, inputs, reset, mask)
    steps = _steps(inputs, reverse)
    before = dict(zip(steps[1:], steps, strict=False))
    first_state = 0.0 if initial_state is None else initial_state

    decay_gradient, inputs_gradient = np.empty_like(decay), np.empty_like(inputs)
    gradient = np.zeros_like(states, shape=(states.shape[0], states.shape[2])) + final_gradient
    for t in reversed(steps):
        gradient = states_gradient[:, t] + gradient
        inputs_gradient[:, t] = gradient
        decay_gradient[:, t] = gradient * np.conj(states[:, before[t]] if t in before else first_state)
        gradient = np.conj(decay[:, t]) * np.where(forgotten[:, t], 0.0, gradient)

    if reset is not None:
        decay_gradient[reset] = 0.0
    if mask is not None:
        decay_gradient[~mask] = 0.0
        inputs_gradient[~mask] = 0.0
    return decay_gradient, inputs_gradient, gradient


def linear_scan(decay, inputs, initial_state, marks, reverse):
    """The definition, for tuples of components; see the package."""
    numbers = (number(x) for x in (decay, inputs, initial_state))
    states, final_state = definition(*numbers, **flags(marks), reverse=reverse)
    return components(states), components(final_state)


def flags(marks: tuple) -> dict[str, np.ndarray | None]:
    """Reset and mask, `(B, T)`, from an implementation's marks."""
    pairs = zip(("reset", "mask"), marks, strict=True)
    return {name: None if mark is None else np.asarray(mark)[..., 0] for name, mark in pairs}


def components(array: np.ndarray) -> tuple[np.ndarray, ...]:
    """`(real,)` or `(real, imaginary)`."""
    return (array.real, array.imag) if np.iscomplexobj(array) else (array,)


def number(components: Components) -> np.ndarray:
    """The real or complex array with these components."""
    real, *imaginary = (np.asarray(component, "float64") for component in components)
    return real + 1j * imaginary[0] if imaginary else real


def apply_marks(decay, inputs, reset, mask, zero=0.0, one=1.0):
    """Decay and inputs in double precision with reset and mask applied, and where the past is forgotten."""
    dtype = np.result_type(decay, inputs, np.float64)
    decay, inputs = np.array(decay, dtype), np.array(inputs, dtype)
    forgotten = np.zeros((*inputs.shape[:2], 1), bool)
    if reset is not None:
        decay[reset], forgotten[reset] = zero, True
    if mask is not None:
        decay[~mask], inputs[~mask], forgotten[~mask] = one, zero, False
    return decay, inputs, forgotten


def _steps(inputs, reverse):
    steps = list(range(inputs.shape[1]))
    return steps[::-1] if reverse else steps
