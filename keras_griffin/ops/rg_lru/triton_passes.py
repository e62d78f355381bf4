"""The passes of the Triton kernels of `rg_lru`, for PyTorch and JAX: the gates inside the kernels of the scan.

Decay, multiplier and gates are computed in registers and never stored. Programs and pieces of time are those of
`linear_scan`. Each program sums the gradients for Lambda and theta over its steps; the sums over the programs follow,
in a fixed order.
"""

from types import ModuleType

from keras import ops

from keras_griffin.ops.recurrence.kernels.triton_passes import in_pieces, like, plan_of
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.rg_lru.gates import GatedScanInputs

#: A thread computes one channel, whatever its dtype: with two, half as many programs do the arithmetic, and it takes
#: longer than memory.
ONE_CHANNEL = 1


def scan(
    gpu: ModuleType, unit: GatedScanInputs, initial_state: Components, marks: Marks, exponent: float, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    from keras_griffin.ops.rg_lru.triton_kernels import gated_piece_ends, gated_scan

    arguments, inputs = _arguments(unit), unit.inputs
    plan = plan_of(gpu, inputs[0], len(inputs) + 2, ONE_CHANNEL)
    kernels = (gated_piece_ends, arguments), (gated_scan, (*arguments, initial_state))
    results = like(gpu, inputs), like(gpu, initial_state)
    return in_pieces(gpu, *kernels, plan, marks, results, reverse, False, exponent=exponent)


def scan_gradient(
    gpu: ModuleType,
    unit: GatedScanInputs,
    states: Components,
    initial_state: Components,
    marks: Marks,
    gradients: tuple[Components, Components],
    exponent: float,
    reverse: bool,
) -> tuple[GatedScanInputs, Components]:
    """The gradients for unit and initial state; those for Lambda and theta are each row's, `(B, D)`, in float32."""
    from keras_griffin.ops.rg_lru.triton_kernels import gated_piece_ends, gated_scan_gradient

    arguments, inputs = _arguments(unit), unit.inputs
    plan = plan_of(gpu, inputs[0], 3 * len(inputs) + 2, ONE_CHANNEL)
    batch_size, _, width = plan.shape
    sequences = [like(gpu, number) for number in arguments[:3]]
    sums = [
        like(gpu, initial_state[:1], (batch_size * plan.pieces, width)) if channel is not None else None
        for channel in unit[3:]
    ]
    results = *sequences, *sums, like(gpu, initial_state)
    first = gated_piece_ends, (gradients[0], *arguments[1:])
    last = gated_scan_gradient, (*arguments, states, initial_state, *gradients)
    *sequences, log_sums, angle_sums, into_start = in_pieces(
        gpu, first, last, plan, marks, results, reverse, True, exponent=exponent
    )
    into_inputs, (into_input_logits,), (into_recurrence_logits,) = sequences
    slope = ops.sigmoid(-ops.cast(unit.decay_parameter, "float32"))
    into_phase = None if angle_sums is None else _of_rows(angle_sums, plan)
    channels = slope * _of_rows(log_sums, plan), into_phase
    return GatedScanInputs(into_inputs, into_input_logits, into_recurrence_logits, *channels), into_start


def _arguments(unit):
    """The first arguments of every kernel; the softplus here, once per channel, since Triton has no log1p."""
    softplus = ops.softplus(-ops.cast(unit.decay_parameter, "float32"))
    return unit.inputs, (unit.input_gate_logits,), (unit.recurrence_gate_logits,), softplus, unit.phase


def _of_rows(sums, plan):
    """The sums of all pieces of each row."""
    return ops.sum(ops.reshape(sums[0], (-1, plan.pieces, plan.shape[2])), axis=1)
