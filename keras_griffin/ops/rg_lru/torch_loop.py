"""On PyTorch: one piece of time after another, so that the gates' results stay in the cache and are never stored.

Forward and backward are inside their own operators, so that `torch.compile` does not unroll their loops.
"""

import torch
from torch import Tensor

from keras_griffin.ops.recurrence.marks import Marks, forgetting
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.recurrence.torch_loop import (
    as_components,
    as_number,
    empty_like,
    may_look,
    scan_gradient,
    scan_into,
)
from keras_griffin.ops.recurrence.torch_operator import with_derivatives
from keras_griffin.ops.rg_lru import portable
from keras_griffin.ops.rg_lru.gates import GatedScanInputs, flat, gates, gates_gradient, packed
from keras_griffin.ops.rg_lru.torch_gates import decay_of, gates_gradient_in_place, gates_in_place

#: Elements of each array in a piece: enough to make the overhead of PyTorch's calls small, and few enough for the
#: cache.
PIECE = 2**18


def supports(facts) -> str | None:
    """Everything on PyTorch."""
    return None


def of_operators(operator, gradient):
    """The package's `rg_lru` around custom operators, as in `with_derivatives`."""

    def again(tensors, reset, mask, exponent, reverse):
        results = portable.rg_lru(*packed(tensors), Marks(reset, mask), exponent, reverse)
        return [part for number in results for part in number]

    differentiable = with_derivatives(operator, gradient, again)

    def rg_lru(
        unit: GatedScanInputs, initial_state: Components, marks: Marks, exponent: float, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        results = differentiable(flat(unit, initial_state), *marks, float(exponent), reverse)
        parts = len(initial_state)
        return tuple(results[:parts]), tuple(results[parts:])

    return rg_lru


@torch.library.custom_op("keras_griffin::rg_lru", mutates_args=())
def _rg_lru(
    tensors: list[Tensor], reset: Tensor | None, mask: Tensor | None, exponent: float, reverse: bool
) -> list[Tensor]:
    unit, initial_state = packed(tensors)
    marks, state = Marks(reset, mask), as_number(initial_state)
    states = empty_like(state[:, None].expand(-1, unit.inputs[0].shape[1], -1))
    for piece in _pieces(unit.inputs[0], reverse):
        there, marked = _at(unit, piece), _marks_at(marks, piece)
        if unit.phase is None:
            decay, gated_inputs = gates_in_place(there, marked, exponent, state.dtype)
        else:
            decay, gated_inputs = map(as_number, gates(there, marked, exponent, initial_state[0].dtype))
        scan_into(states[:, piece], decay, gated_inputs, state, forgetting(marked), reverse)
        state = states[:, piece.start if reverse else piece.stop - 1]
    return [*as_components(states), *as_components(state.clone())]


@_rg_lru.register_fake
def _(tensors, *others):
    unit, initial_state = packed(tensors)
    return [h.new_empty(unit.inputs[0].shape) for h in initial_state] + [torch.empty_like(h) for h in initial_state]


@torch.library.custom_op("keras_griffin::rg_lru_gradient", mutates_args=())
def _gradient(
    tensors: list[Tensor],
    states: list[Tensor],
    gradients: list[Tensor],
    reset: Tensor | None,
    mask: Tensor | None,
    exponent: float,
    reverse: bool,
) -> list[Tensor]:
    unit, initial_state = packed(tensors)
    marks, parts, dtype = Marks(reset, mask), len(initial_state), initial_state[0].dtype
    known, first_state = as_number(states), as_number(initial_state)
    states_gradient, into_state = as_number(gradients[:parts]), as_number(gradients[parts:])
    sequences = [empty_like(x) for x in tensors[: parts + 2]]
    channels = [torch.zeros_like(into_state.real) for _ in range(parts)]
    for piece in reversed(_pieces(unit.inputs[0], reverse)):
        there, marked = _at(unit, piece), _marks_at(marks, piece)
        made = decay_of(there, marked, exponent, dtype) if unit.phase is None else None
        decay = as_number(gates(there, marked, exponent, dtype)[0]) if made is None else made.decay
        before = piece.stop if reverse else piece.start - 1
        state = known[:, before] if 0 <= before < known.shape[1] else first_state
        numbers = (decay, known[:, piece], state, states_gradient[:, piece], into_state)
        *given, into_state = scan_gradient(*numbers, forgetting(marked), reverse)
        there_into = [whole[:, piece] for whole in sequences]
        if made is not None:
            channels[0] += gates_gradient_in_place(there, made, marked, exponent, given, there_into)
            continue
        into_decay, into_gated = map(as_components, given)
        gradient = gates_gradient(there, marked, exponent, dtype, into_decay, into_gated, by_row=True)
        for part, values in zip(there_into, (*gradient.inputs, *gradient[1:3]), strict=True):
            part.copy_(values)
        for total, part in zip(channels, gradient[3:], strict=True):
            total += part
    return [*sequences, *channels, *as_components(into_state)]


rg_lru = of_operators(_rg_lru, _gradient)


def _pieces(array, reverse) -> list[slice]:
    """Pieces of time in the order in which they are computed."""
    batch_size, length, width = array.shape
    size = max(1, PIECE // max(1, batch_size * width))
    pieces = [slice(start, min(start + size, length)) for start in range(0, length, size)]
    return pieces[::-1] if reverse else pieces


def _at(unit, piece):
    return GatedScanInputs(tuple(x[:, piece] for x in unit.inputs), *(x[:, piece] for x in unit[1:3]), *unit[3:])


def _marks_at(marks, piece):
    """The marks of a piece; on a CPU, None for those that change nothing there."""
    reset, mask = (mark if mark is None else mark[:, piece] for mark in marks)
    if reset is not None and may_look(reset) and not reset.any():
        reset = None
    if mask is not None and may_look(mask) and mask.all():
        mask = None
    return Marks(reset, mask)
