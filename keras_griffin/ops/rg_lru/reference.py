"""The definition of `rg_lru` and of its gradient: NumPy in float64, with the paper's equations as printed.

The other implementations are tested against it, and it is tested by finite differences. Here numbers are NumPy's
complex numbers. A number's gradient is that for its real part plus i times that for its imaginary part, and the chain
rule multiplies it by conjugated factors.
"""

import numpy as np

from keras_griffin.ops.linear_scan import reference as scan_reference
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.rg_lru.gates import GatedScanInputs

#: The upper bound of the square root's derivative.
LARGEST_SLOPE = 1000.0


def definition(unit: GatedScanInputs, initial_state, exponent: float, *, reset=None, mask=None, reverse=False):
    """Every state and the last one; `reset`, `mask`: (B, T) bool. The inputs are one array, real or complex."""
    unit = _seen(unit, mask)
    decay, root, _, input_gate = _gates(unit, reset, exponent)
    gated_inputs = root * input_gate * unit.inputs
    return scan_reference.definition(decay, gated_inputs, initial_state, reset=reset, mask=mask, reverse=reverse)


def rg_lru_gradient(
    unit: GatedScanInputs, initial_state, exponent: float, gradients, *, reset=None, mask=None, reverse=False
):
    """The gradients for unit and initial state, from those for states and final state."""
    unit = _seen(unit, mask)
    decay, root, recurrence_gate, input_gate = _gates(unit, reset, exponent)
    into_decay, into_gated, into_start = scan_reference.linear_scan_gradient(
        decay, root * input_gate * unit.inputs, initial_state, *gradients, reset=reset, mask=mask, reverse=reverse
    )
    # 1 - |a|^2 = 1 - exp(2 Re log a), and a = exp(log a).
    into_product = np.real(into_gated * np.conj(unit.inputs))
    with np.errstate(divide="ignore"):
        into_square = into_product * input_gate * np.minimum(0.5 / root, LARGEST_SLOPE)
    into_log = np.conj(decay) * into_decay - 2.0 * np.abs(decay) ** 2 * into_square
    into_power = np.real(into_log) * np.log(_sigmoid(unit.decay_parameter))
    into_phase = None
    if unit.phase is not None:
        into_power = into_power + np.imag(into_log) * unit.phase
        into_phase = np.sum(np.imag(into_log) * exponent * recurrence_gate, axis=(0, 1))
    gradient = GatedScanInputs(
        inputs=into_gated * root * input_gate,
        input_gate_logits=into_product * root * input_gate * (1.0 - input_gate),
        recurrence_gate_logits=into_power * exponent * recurrence_gate * (1.0 - recurrence_gate),
        decay_parameter=_sigmoid(-unit.decay_parameter)
        * np.sum(np.real(into_log) * exponent * recurrence_gate, axis=(0, 1)),
        phase=into_phase,
    )
    return gradient, into_start


def rg_lru(
    unit: GatedScanInputs, initial_state: Components, marks: tuple, exponent: float, reverse: bool
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """The definition, for tuples of components; see the package."""
    arrays = (x if x is None else np.asarray(x, "float64") for x in unit[1:])
    unit, start = GatedScanInputs(_number(unit.inputs), *arrays), _number(initial_state)
    reset, mask = (mark if mark is None else np.asarray(mark)[..., 0] for mark in marks)
    states, final_state = definition(unit, start, exponent, reset=reset, mask=mask, reverse=reverse)
    return scan_reference.components(states), scan_reference.components(final_state)


def _gates(unit, reset, exponent):
    """a_t, sqrt(1 - |a_t|^2), r_t and i_t."""
    recurrence_gate, input_gate = _sigmoid(unit.recurrence_gate_logits), _sigmoid(unit.input_gate_logits)
    log_decay = np.log(_sigmoid(unit.decay_parameter))
    if unit.phase is not None:
        log_decay = log_decay + 1j * unit.phase
    decay = np.exp(exponent * recurrence_gate * log_decay)
    if reset is not None:
        decay[reset] = 0.0
    return decay, np.sqrt(1.0 - np.abs(decay) ** 2), recurrence_gate, input_gate


def _seen(unit, mask):
    """The unit with zeros at masked steps."""
    if mask is None:
        return unit
    return unit._replace(**{name: np.where(mask[..., None], getattr(unit, name), 0.0) for name in unit._fields[:3]})


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _number(components):
    """The real or complex array with these components."""
    real, *imaginary = (np.asarray(component, "float64") for component in components)
    return real + 1j * imaginary[0] if imaginary else real
