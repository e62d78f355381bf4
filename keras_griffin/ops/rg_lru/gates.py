"""The elementwise part of the RG-LRU around its scan: decay and gated inputs from the logits, and the gradients.

With r = sigmoid(recurrence gate's logits), i = sigmoid(input gate's logits) and s = softplus(-Lambda),

    log|a| = -c r s        e = |a| - 1 = expm1(log|a|)        m = sqrt(1 - |a|^2) = sqrt(-e (2 + e))

the decay is a = |a|, or a = |a| exp(i c r theta) in a complex unit, and the scan's input is m i x. -e (2 + e) loses no
digits where |a| is close to 1. All of it can be recomputed for the gradient, and none of it need be stored.
"""

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

from keras_griffin.ops.bounded_sqrt import bounded_slope
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.rg_lru.inputs import GatedScanInputs
from keras_griffin.shapes import Tensor


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
    """Decay and gated inputs, the scan's arguments.

    Args:
        unit: the tensors.
        marks: resets and mask.
        exponent: c.
        dtype: of accumulation, and of the results.
        square_root: `bounded_sqrt` if the backend differentiates this function itself.
        expm1: exp(x) - 1 for x <= 0, where Keras's can't be used.

    Returns:
        `(decay, gated_inputs)`, components of shape `(B, T, D)`.
    """
    parts = _parts(unit, marks, exponent, dtype, square_root, expm1)
    decay: Components = (parts.magnitude,)
    if unit.phase is not None:
        angle = parts.power * ops.cast(unit.phase, dtype)
        decay = (parts.magnitude * ops.cos(angle), parts.magnitude * ops.sin(angle))
    weight = parts.multiplier * parts.input_gate
    gated_inputs = tuple(weight * x for x in parts.inputs)
    if marks.mask is not None:
        decay = tuple(ops.where(marks.mask, a, neutral) for a, neutral in zip(decay, (1.0, 0.0), strict=False))
        gated_inputs = tuple(ops.where(marks.mask, x, 0.0) for x in gated_inputs)
    return decay, gated_inputs


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
    """The gradients of a loss for the unit's tensors, from those for decay and gated inputs.

    The derivative of the square root is bounded as in `bounded_sqrt`. With `by_row`, the gradients for decay parameter
    and phase are each row's, `(B, D)`.
    """
    parts = _parts(unit, marks, exponent, dtype, ops.sqrt, expm1)
    if marks.mask is not None:
        decay_gradient, gated_gradient = (
            tuple(ops.where(marks.mask, g, 0.0) for g in gradient) for gradient in (decay_gradient, gated_gradient)
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
