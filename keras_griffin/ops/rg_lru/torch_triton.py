"""On PyTorch with a GPU: the gates inside the kernels of the scan, in Triton.

Forward reads x and two logits and writes the states; backward reads those four and the gradient for the states, and
writes three gradients. Decay, multiplier and gates are computed in registers and never stored. Programs and pieces of
time are those of `linear_scan`, with the same passes: if time is cut, forward reads the three arrays twice, and
backward reads two of its seven twice. Each program sums the gradients for Lambda and theta over its steps, and PyTorch
sums over the programs, in a fixed order.
"""

import torch
from torch import Tensor

from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.ops.linear_scan.marks import Marks
from keras_griffin.ops.linear_scan.torch_triton import (
    as_bytes,
    empty,
    in_order,
    launch,
    plan_of,
    starts_of_pieces,
    supports,
)
from keras_griffin.ops.rg_lru.torch_operator import with_derivatives
from keras_griffin.ops.rg_lru.unit import Unit

__all__ = ["rg_lru", "supports"]

#: A thread computes one channel, whatever its dtype: with two, half as many programs do the arithmetic, and it takes
#: longer than memory.
ONE_CHANNEL = 1


def rg_lru(
    unit: Unit, initial_state: Components, marks: Marks, exponent: float, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    results = rg_lru_with_derivatives(
        list(unit.inputs), *unit[1:], list(initial_state), *marks, float(exponent), reverse
    )
    parts = len(initial_state)
    return tuple(results[:parts]), tuple(results[parts:])


def _arguments(inputs, input_gate_logits, recurrence_gate_logits, decay_parameter, phase, exponent):
    """The first arguments of every kernel. PyTorch, which has log1p, computes the softplus once per channel."""
    softplus = torch.nn.functional.softplus(-decay_parameter.float())
    logits = ((x.contiguous(),) for x in (input_gate_logits, recurrence_gate_logits))
    return in_order(inputs), *logits, softplus, phase if phase is None else phase.contiguous(), exponent


@torch.library.custom_op("keras_griffin::rg_lru_triton", mutates_args=())
def _rg_lru(
    inputs: list[Tensor],
    input_gate_logits: Tensor,
    recurrence_gate_logits: Tensor,
    decay_parameter: Tensor,
    phase: Tensor | None,
    initial_state: list[Tensor],
    reset: Tensor | None,
    mask: Tensor | None,
    exponent: float,
    reverse: bool,
) -> list[Tensor]:
    from keras_griffin.ops.rg_lru.torch_triton_kernels import gated_piece_ends, gated_scan

    unit = _arguments(inputs, input_gate_logits, recurrence_gate_logits, decay_parameter, phase, exponent)
    x, start, marks = unit[0], in_order(initial_state), as_bytes(reset, mask)
    plan = plan_of(x[0], len(x) + 2, ONE_CHANNEL)
    states, final_state = tuple(map(empty, x)), tuple(map(empty, start))
    ends = starts_of_pieces(gated_piece_ends, (*unit, *marks), start, x[0], plan, LAST_FIRST=reverse, GRADIENT=False)
    launch(gated_scan, x[0], plan, plan.pieces, *unit, start, ends, states, final_state, *marks, REVERSE=reverse)
    return [*states, *final_state]


@_rg_lru.register_fake
def _(inputs, *others):
    initial_state = others[4]
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*inputs, *initial_state)]


@torch.library.custom_op("keras_griffin::rg_lru_triton_gradient", mutates_args=())
def _gradient(
    inputs: list[Tensor],
    input_gate_logits: Tensor,
    recurrence_gate_logits: Tensor,
    decay_parameter: Tensor,
    phase: Tensor | None,
    states: list[Tensor],
    initial_state: list[Tensor],
    reset: Tensor | None,
    mask: Tensor | None,
    gradients: list[Tensor],
    exponent: float,
    reverse: bool,
) -> list[Tensor]:
    from keras_griffin.ops.rg_lru.torch_triton_kernels import gated_piece_ends, gated_scan_gradient

    unit = _arguments(inputs, input_gate_logits, recurrence_gate_logits, decay_parameter, phase, exponent)
    parts, x = len(inputs), unit[0]
    numbers = (states, initial_state, gradients[:parts], gradients[parts:])
    h, start, into_states, into_final = (in_order(number) for number in numbers)
    marks, plan = as_bytes(reset, mask), plan_of(x[0], 3 * parts + 2, ONE_CHANNEL)
    into_inputs, into_input_logits, into_recurrence_logits = (tuple(map(empty, number)) for number in unit[:3])
    into_start = tuple(map(empty, start))
    log_sums, *angle_sums = (
        empty(start[0], (len(x[0]) * plan.pieces, x[0].shape[2])) for channel in unit[3:5] if channel is not None
    )
    ends = starts_of_pieces(
        gated_piece_ends,
        (into_states, *unit[1:], *marks),
        into_final,
        x[0],
        plan,
        LAST_FIRST=not reverse,
        GRADIENT=True,
    )
    launch(
        gated_scan_gradient,
        x[0],
        plan,
        plan.pieces,
        *(*unit, h, start, into_states, into_final, ends),
        *(into_inputs, into_input_logits, into_recurrence_logits),
        *((log_sums,), (*angle_sums,) or None, into_start, *marks),
        REVERSE=reverse,
    )
    # Of each row, as from the loop.
    log_sums, *angle_sums = (sums.unflatten(0, (-1, plan.pieces)).sum(1) for sums in (log_sums, *angle_sums))
    into_decay_parameter = torch.sigmoid(-decay_parameter.float()) * log_sums
    sequences = (*into_inputs, *into_input_logits, *into_recurrence_logits)
    return [*sequences, into_decay_parameter, *angle_sums, *into_start]


#: The operator, which PyTorch differentiates.
rg_lru_with_derivatives = with_derivatives(_rg_lru, _gradient)
