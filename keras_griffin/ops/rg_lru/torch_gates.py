"""The gates of a real unit in PyTorch: those of `gates.py` in place, in so few arrays that they stay in the cache."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from keras_griffin.ops.bounded_sqrt import SMALLEST_ROOT
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.recurrence.torch_loop import fill_
from keras_griffin.ops.rg_lru.gates import GatedScanInputs


class Decay(NamedTuple):
    """The numbers that follow from the recurrence gate, `(B, T, D)`."""

    decay: Tensor  # a; 1 at a masked step
    multiplier: Tensor  # sqrt(1 - a^2)
    recurrence_gate: Tensor


def decay_of(unit: GatedScanInputs, marks: Marks, exponent: float, dtype: torch.dtype) -> Decay:
    """Decay, multiplier and gate from the recurrence gate's logits."""
    recurrence_gate = _gate(unit.recurrence_gate_logits, marks, dtype)
    minus_one = (recurrence_gate * _log_decay(unit.decay_parameter.to(dtype), exponent)).expm1_()
    if marks.reset is not None:
        fill_(minus_one, marks.reset, -1.0)
    multiplier = (minus_one * -2.0).addcmul_(minus_one, minus_one, value=-1.0).sqrt_()
    decay = minus_one.add_(1.0)
    return Decay(_seen(decay, marks, 1.0), multiplier, recurrence_gate)


def gates_in_place(unit: GatedScanInputs, marks: Marks, exponent: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Decay and gated inputs, `(B, T, D)`."""
    decay, multiplier, _ = decay_of(unit, marks, exponent, dtype)
    input_gate = _gate(unit.input_gate_logits, marks, dtype)
    return decay, input_gate.mul_(multiplier).mul_(_seen(unit.inputs[0], marks, 0.0))


def gates_gradient_in_place(
    unit: GatedScanInputs, made: Decay, marks: Marks, exponent: float, gradients: Sequence[Tensor], into: list[Tensor]
) -> Tensor:
    """Write the gradients for x and both logits, and return each row's for Lambda; `made` and `gradients` are lost."""
    decay, multiplier, recurrence_gate = made
    into_decay, into_gated = (_seen(gradient, marks, 0.0) for gradient in gradients)
    input_gate = _gate(unit.input_gate_logits, marks, decay.dtype)
    into_inputs, into_input_logits, into_recurrence_logits = into

    into_product = into_gated * _seen(unit.inputs[0], marks, 0.0)
    _into_logits(into_product * multiplier, input_gate, out=into_input_logits)
    torch.mul(into_gated.mul_(multiplier), input_gate, out=into_inputs)
    # The multiplier is the root of 1 - a^2, which has the derivative -2 a.
    slope = multiplier.clamp_(min=SMALLEST_ROOT).reciprocal_().mul_(decay)
    into_log = into_decay.sub_(into_product.mul_(input_gate).mul_(slope)).mul_(decay)
    decay_parameter = unit.decay_parameter.to(decay.dtype)
    into_decay_parameter = torch.sum(torch.mul(into_log, recurrence_gate, out=slope), 1)
    _into_logits(into_log.mul_(_log_decay(decay_parameter, exponent)), recurrence_gate, out=into_recurrence_logits)
    return into_decay_parameter.mul_(torch.sigmoid(-decay_parameter)).mul_(exponent)


def _log_decay(decay_parameter, exponent):
    """log a where the recurrence gate is 1."""
    return torch.nn.functional.softplus(-decay_parameter).mul_(-exponent)


def _gate(logits, marks, dtype):
    return torch.sigmoid(_seen(logits, marks, 0.0).to(dtype))


def _seen(array, marks, neutral):
    """The array with `neutral` at masked steps: zero times NaN is NaN."""
    return array if marks.mask is None else array.masked_fill(~marks.mask, neutral)


def _into_logits(into_gate, gate, out):
    """The gradient for the logits of a gate."""
    torch.ops.aten.sigmoid_backward.grad_input(into_gate, gate, grad_input=into_gate)
    out.copy_(into_gate)
