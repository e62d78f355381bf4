"""The definition of `state_space` and of its gradient: NumPy in float64, one step after the other.

The other implementations are tested against it, and it is tested by finite differences.
"""

import numpy as np

from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.state_space.inputs import DenseSystem, DiagonalSystem, System


def definition(inputs, system: System, initial_state=None, *, reset=None, mask=None):
    """Every output and the last state, in float64; `reset`, `mask`: (B, T) bool."""
    inputs, forgotten, real = _marked(inputs, reset, mask)
    states = _states(inputs, _dense(system), initial_state, forgotten, real)
    outputs = np.einsum("tbdn,dn->btd", states[1:], np.asarray(system.output_weights, "float64"))
    return np.where(real[..., None], outputs, 0.0), states[-1]


def state_space_gradient(inputs, system: System, initial_state, gradients, *, reset=None, mask=None):
    """The gradients of a loss, from those for outputs and final state.

    With gy_t the gradient for y_t and g_t that for h_t, which in the last step includes the final state's,

        g_t = c gy_t + A^T g_{t+1}          dA = sum_{b,t} g_t h_{t-1}^T
        du_t = b . g_t                      db = sum_{b,t} g_t u_t          dc = sum_{b,t} gy_t h_t

    A reset at step t makes h_{t-1} there, and the gradient passed back from g_t, zero even where they are not finite.
    Returned are the gradients for inputs, system and initial state.
    """
    inputs, forgotten, real = _marked(inputs, reset, mask)
    dense = _dense(system)
    b, c, transition = dense
    states = _states(inputs, dense, initial_state, forgotten, real)
    into_outputs, gradient = (np.asarray(x, "float64") for x in gradients)
    into_inputs, into = np.zeros_like(inputs), DenseSystem(*map(np.zeros_like, dense))
    for t in reversed(range(inputs.shape[1])):
        is_real, forgets = real[:, t, None, None], forgotten[:, t, None, None]
        before = np.where(forgets, 0.0, states[t])
        here = np.where(is_real, into_outputs[:, t, :, None], 0.0)
        into_state = np.where(is_real, gradient, 0.0) + c * here
        into_inputs[:, t] = np.sum(into_state * b, 2)
        into.input_weights[...] += np.sum(into_state * inputs[:, t, :, None], 0)
        into.output_weights[...] += np.sum(here * np.where(is_real, states[t + 1], 0.0), 0)
        into.transition[...] += np.einsum("bdm,bdn->dmn", into_state, before)
        passed = np.where(forgets, 0.0, np.einsum("bdm,dmn->bdn", into_state, transition))
        gradient = np.where(is_real, passed, gradient)
    if isinstance(system, DiagonalSystem):
        return into_inputs, DiagonalSystem(*into[:2], _into_rates(transition, into.transition)), gradient
    return into_inputs, into, gradient


def state_space(inputs, system: System, initial_state, marks: Marks) -> tuple[np.ndarray, np.ndarray]:
    """The definition, for tensors; see the package."""
    system = type(system)(*(np.asarray(x) for x in system))
    reset, mask = (mark if mark is None else np.asarray(mark)[..., 0] for mark in marks)
    return definition(np.asarray(inputs), system, np.asarray(initial_state), reset=reset, mask=mask)


def _marked(inputs, reset, mask):
    """Inputs in float64, zeros at masked steps; where the past is forgotten; and the real steps, `(B, T)`."""
    inputs = np.asarray(inputs, "float64")
    real = np.ones(inputs.shape[:2], bool) if mask is None else np.array(mask)
    forgotten = np.zeros_like(real) if reset is None else np.array(reset) & real
    return np.where(real[..., None], inputs, 0.0), forgotten, real


def _dense(system):
    """The system with matrices `(D, N, N)`, in float64: exp(a + i e) is [[p, -q], [q, p]]."""
    b, c, transition = (np.asarray(x, "float64") for x in system)
    if isinstance(system, DiagonalSystem):
        real, imaginary = np.split(transition, 2, axis=-1)
        number = np.exp(real + 1j * imaginary)
        p, q = (part[..., None] * np.eye(number.shape[-1]) for part in (number.real, number.imag))
        transition = np.concatenate([np.concatenate([p, -q], -1), np.concatenate([q, p], -1)], -2)
    return DenseSystem(b, c, transition)


def _into_rates(transition, into):
    """The gradient for the logarithms, from that for the matrices."""
    half = transition.shape[-1] // 2
    (p, _), (q, _) = (_quarters(transition)[row] for row in (0, 1))
    (into_p, into_minus_q), (into_q, into_other_p) = _quarters(into)
    into_p, into_q = into_p + into_other_p, into_q - into_minus_q
    result = np.concatenate([into_p * p + into_q * q, into_q * p - into_p * q], axis=-1)
    return result.reshape(len(transition), 2 * half)


def _quarters(matrices):
    """The diagonals of the four quarters, as rows of columns."""
    rows = np.split(matrices, 2, axis=-2)
    return [[np.diagonal(x, axis1=-2, axis2=-1) for x in np.split(row, 2, axis=-1)] for row in rows]


def _states(inputs, dense, initial_state, forgotten, real):
    """h_0 and every state, `(1 + T, B, D, N)`."""
    batch_size, length, _ = inputs.shape
    states = np.zeros((1 + length, batch_size, *dense.input_weights.shape))
    if initial_state is not None:
        states[0] = initial_state
    for t in range(length):
        past = np.where(forgotten[:, t, None, None], 0.0, states[t])
        new = np.einsum("dmn,bdn->bdm", dense.transition, past) + dense.input_weights * inputs[:, t, :, None]
        states[t + 1] = np.where(real[:, t, None, None], new, states[t])
    return states
