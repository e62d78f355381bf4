"""On PyTorch: a loop along time over views of the arrays, many chunks of the sequence at once.

The loop is inside its own operator, so that `torch.compile` does not unroll it.
"""

import torch
from torch import Tensor

from keras_griffin.ops.linear_scan.torch_derivatives import with_derivatives
from keras_griffin.ops.recurrence.marks import Marks, apply_marks, forgetting
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.recurrence.torch_loop import (
    as_components,
    as_number,
    empty_like,
    fill_,
    scan_gradient,
    scan_into,
)


def supports(facts) -> str | None:
    """Everything on PyTorch."""
    return None


def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, marks: Marks, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    # The operators handle resets themselves.
    decay, inputs = apply_marks(decay, inputs, Marks(None, marks.mask), initial_state[0].dtype)
    forgotten = forgetting(marks)
    results = scan_with_derivatives(list(decay), list(inputs), list(initial_state), forgotten, reverse)
    return tuple(results[: len(inputs)]), tuple(results[len(inputs) :])


@torch.library.custom_op("keras_griffin::linear_scan", mutates_args=())
def _linear_scan(
    decay: list[Tensor], inputs: list[Tensor], initial_state: list[Tensor], forgotten: Tensor | None, reverse: bool
) -> list[Tensor]:
    a, x, state = _forgetful(as_number(decay), forgotten), as_number(inputs), as_number(initial_state)
    states = empty_like(x)
    scan_into(states, a, x, state, forgotten, reverse)
    return [*as_components(states), *as_components(states[:, 0 if reverse else -1].clone())]


@_linear_scan.register_fake
def _(decay, inputs, initial_state, forgotten, reverse):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*inputs, *initial_state)]


@torch.library.custom_op("keras_griffin::linear_scan_gradient", mutates_args=())
def _gradient(
    decay: list[Tensor],
    states: list[Tensor],
    initial_state: list[Tensor],
    forgotten: Tensor | None,
    gradients: list[Tensor],
    reverse: bool,
) -> list[Tensor]:
    numbers = map(as_number, (states, initial_state, gradients[: len(decay)], gradients[len(decay) :]))
    results = scan_gradient(_forgetful(as_number(decay), forgotten), *numbers, forgotten, reverse)
    return [component for number in results for component in as_components(number)]


@_gradient.register_fake
def _(decay, states, initial_state, forgotten, gradients, reverse):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*decay, *states, *initial_state)]


#: The operator, which PyTorch differentiates.
scan_with_derivatives = with_derivatives(_linear_scan, _gradient)


def _forgetful(decay, forgotten):
    """The decays, but 0 where the past is forgotten."""
    return decay if forgotten is None else fill_(decay.clone(), forgotten, 0.0)
