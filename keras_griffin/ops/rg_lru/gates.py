"""The elementwise part of the RG-LRU around its scan: decay and gated inputs from the logits, and the gradients.

With r = sigmoid(recurrence gate's logits), i = sigmoid(input gate's logits) and s = softplus(-Lambda),

    log|a| = -c r s        e = |a| - 1 = expm1(log|a|)        m = sqrt(1 - |a|^2) = sqrt(-e (2 + e))

the decay is a = |a|, or a = |a| exp(i c r theta) in a complex unit, and the scan's input is m i x. -e (2 + e) loses no
digits where |a| is close to 1. All of it can be recomputed for the gradient, and none of it need be stored.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
from keras import ops

from keras_griffin.ops.bounded_sqrt import bounded_slope
from keras_griffin.ops.recurrence.marks import Marks, apply_marks, forgetting
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.shapes import Tensor


class GatedScanInputs(NamedTuple):
    """The tensors that determine decay and gated inputs; their gradients are a `GatedScanInputs` too."""

    inputs: Components  # x: `(real,)` or `(real, imaginary)`, each `(B, T, D)`
    input_gate_logits: Tensor  # `(B, T, D)`
    recurrence_gate_logits: Tensor  # `(B, T, D)`
    decay_parameter: Tensor  # Lambda, `(D,)`
    phase: Tensor | None  # theta, `(D,)`, if x is complex; otherwise None


def flat(unit: GatedScanInputs, initial_state: Components) -> list[Tensor]:
    """The tensors of both in a list, without None."""
    return [x for x in (*unit.inputs, *unit[1:], *initial_state) if x is not None]


def packed(tensors: Sequence[Tensor]) -> tuple[GatedScanInputs, Components]:
    """The inverse of `flat`: of five tensors, or of eight with a phase."""
    parts = len(tensors) // 4
    phase = tensors[parts + 3] if parts == 2 else None
    return GatedScanInputs(tuple(tensors[:parts]), *tensors[parts : parts + 3], phase), tuple(tensors[-parts:])


class _Parts(NamedTuple):
    """The numbers between the logits and the scan, `(B, T, D)`."""

    inputs: Components
    input_gate: Tensor
    recurrence_gate: Tensor
    power: Tensor  # c r
    magnitude: Tensor  # |a|
    multiplier: Tensor  # m


def gates(
    unit: GatedScanInputs,
    marks: Marks,
    exponent: float,
    dtype: str,
    square_root: Callable = ops.sqrt,
    expm1: Callable = ops.expm1,
) -> tuple[Components, Components]:
    """Decay and gated inputs, `(B, T, D)`, in `dtype`; with `bounded_sqrt` where the backend differentiates this."""
    parts = _parts(unit, marks, exponent, dtype, square_root, expm1)
    decay: Components = (parts.magnitude,)
    if unit.phase is not None:
        angle = parts.power * ops.cast(unit.phase, dtype)
        decay = (parts.magnitude * ops.cos(angle), parts.magnitude * ops.sin(angle))
    weight = parts.multiplier * parts.input_gate
    return apply_marks(decay, tuple(weight * x for x in parts.inputs), Marks(None, marks.mask), dtype)


def gates_gradient(
    unit: GatedScanInputs,
    marks: Marks,
    exponent: float,
    dtype: str,
    decay_gradient: Components,
    gated_gradient: Components,
    expm1: Callable = ops.expm1,
    by_row: bool = False,
) -> GatedScanInputs:
    """The gradients for the unit's tensors; with `by_row`, for decay parameter and phase each row's, `(B, D)`."""
    parts = _parts(unit, marks, exponent, dtype, ops.sqrt, expm1)
    decay_gradient, gated_gradient = (
        tuple(_seen(g, marks.mask) for g in gradient) for gradient in (decay_gradient, gated_gradient)
    )
    input_gate, power, magnitude, multiplier = parts.input_gate, parts.power, parts.magnitude, parts.multiplier
    decay_parameter = ops.cast(unit.decay_parameter, dtype)

    weight_gradient = _sum(g * x for g, x in zip(gated_gradient, parts.inputs, strict=True))
    multiplier_gradient = weight_gradient * input_gate
    if unit.phase is None:
        (magnitude_gradient,), angle_gradient = decay_gradient, None
    else:
        phase = ops.cast(unit.phase, dtype)
        cos, sin = ops.cos(power * phase), ops.sin(power * phase)
        real, imaginary = decay_gradient
        magnitude_gradient = real * cos + imaginary * sin
        angle_gradient = magnitude * (imaginary * cos - real * sin)
    # 1 - |a|^2, of which m is the root, has the derivative -2 |a|.
    magnitude_gradient = magnitude_gradient - multiplier_gradient * bounded_slope(multiplier) * (2.0 * magnitude)
    # Zero at a reset, as the magnitude is zero there.
    log_gradient = magnitude_gradient * magnitude
    power_gradient = -log_gradient * ops.softplus(-decay_parameter)
    if angle_gradient is not None:
        power_gradient = power_gradient + angle_gradient * phase

    recurrence_gate = parts.recurrence_gate
    return GatedScanInputs(
        inputs=tuple(g * (multiplier * input_gate) for g in gated_gradient),
        input_gate_logits=weight_gradient * multiplier * (input_gate * (1.0 - input_gate)),
        recurrence_gate_logits=exponent * power_gradient * (recurrence_gate * (1.0 - recurrence_gate)),
        decay_parameter=ops.sigmoid(-decay_parameter) * _sum_over_steps(log_gradient * power, by_row),
        phase=None if angle_gradient is None else _sum_over_steps(angle_gradient * power, by_row),
    )


def gated_scan(
    scan: Callable, unit: GatedScanInputs, initial_state: Components, marks: Marks, exponent: float, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one, by a `scan` that is not differentiated."""
    numbers = gates(unit, marks, exponent, _dtype(initial_state))
    return scan(*numbers, initial_state, forgetting(marks), reverse)


def gated_scan_gradient(
    scan_gradient: Callable,
    unit: GatedScanInputs,
    states: Components,
    initial_state: Components,
    marks: Marks,
    gradients: tuple[Components, Components],
    exponent: float,
    reverse: bool,
) -> tuple[GatedScanInputs, Components]:
    """The gradients for unit and initial state; the gates are recomputed, not stored."""
    dtype, forgotten = _dtype(initial_state), forgetting(marks)
    decay, _ = gates(unit, marks, exponent, dtype)
    *into, into_start = scan_gradient(decay, states, initial_state, forgotten, gradients, reverse)
    into_unit = gates_gradient(unit, marks, exponent, dtype, *into)
    pairs = zip(flat(into_unit, into_start), flat(unit, initial_state), strict=True)
    return packed([ops.cast(x, like.dtype) for x, like in pairs])


def _dtype(state):
    return keras.backend.standardize_dtype(state[0].dtype)


def _parts(unit, marks, exponent, dtype, square_root, expm1):
    # Zero times NaN is NaN: values at a masked step must not even be multiplied.
    *inputs, input_gate_logits, recurrence_gate_logits = (
        _seen(ops.cast(x, dtype), marks.mask)
        for x in (*unit.inputs, unit.input_gate_logits, unit.recurrence_gate_logits)
    )
    recurrence_gate = ops.sigmoid(recurrence_gate_logits)
    power = exponent * recurrence_gate
    magnitude_minus_one = expm1(-power * ops.softplus(-ops.cast(unit.decay_parameter, dtype)))
    if marks.reset is not None:
        magnitude_minus_one = ops.where(marks.reset, -1.0, magnitude_minus_one)
    multiplier = square_root(-magnitude_minus_one * (2.0 + magnitude_minus_one))
    return _Parts(
        tuple(inputs), ops.sigmoid(input_gate_logits), recurrence_gate, power, 1.0 + magnitude_minus_one, multiplier
    )


def _seen(steps, mask):
    return steps if mask is None else ops.where(mask, steps, 0.0)


def _sum(terms):
    first, *others = terms
    return first + others[0] if others else first


def _sum_over_steps(x, by_row):
    return ops.sum(x, axis=tuple(range(1 if by_row else 0, len(x.shape) - 1)))
