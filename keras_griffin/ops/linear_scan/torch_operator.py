"""A scan and its gradient as operators of PyTorch, which `torch.compile` does not trace; derivatives of every order."""

from collections.abc import Callable

import torch
from torch import Tensor

from keras_griffin.ops.linear_scan import SCAN
from keras_griffin.ops.recurrence.gradient import gradient_by_scan
from keras_griffin.ops.recurrence.marks import Marks, apply_marks, forgetting, zero_where
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.shared.torch_second_derivatives import are_wanted


def operators(name: str, scan: Callable, scan_gradient: Callable) -> tuple[Callable, Callable]:
    """The operator of a scan, which PyTorch differentiates, and the operator of its gradient.

    `scan(decay, inputs, initial_state, marks, reverse)` returns states and final state, and
    `scan_gradient(decay, states, initial_state, marks, gradients, reverse)` the gradients for decay, inputs and initial
    state, all as tuples of components.
    """

    @torch.library.custom_op(f"keras_griffin::{name}", mutates_args=())
    def operator(
        decay: list[Tensor],
        inputs: list[Tensor],
        initial_state: list[Tensor],
        reset: Tensor | None,
        mask: Tensor | None,
        reverse: bool,
    ) -> list[Tensor]:
        numbers = tuple(decay), tuple(inputs), tuple(initial_state)
        return _flat(scan(*numbers, Marks(reset, mask), reverse))

    @operator.register_fake
    def _(decay, inputs, initial_state, reset, mask, reverse):
        return _like(*inputs, *initial_state)

    @torch.library.custom_op(f"keras_griffin::{name}_gradient", mutates_args=())
    def gradient(
        decay: list[Tensor],
        states: list[Tensor],
        initial_state: list[Tensor],
        reset: Tensor | None,
        mask: Tensor | None,
        gradients: list[Tensor],
        reverse: bool,
    ) -> list[Tensor]:
        parts, numbers = len(decay), (tuple(decay), tuple(states), tuple(initial_state))
        given = tuple(gradients[:parts]), tuple(gradients[parts:])
        return _flat(scan_gradient(*numbers, Marks(reset, mask), given, reverse))

    @gradient.register_fake
    def _(decay, states, initial_state, reset, mask, gradients, reverse):
        return _like(*decay, *states, *initial_state)

    def keep(ctx, inputs, output):
        decay, _, initial_state, reset, mask, ctx.reverse = inputs
        ctx.save_for_backward(*decay, *output[: len(decay)], *initial_state, reset, mask)

    def backward(ctx, gradients):
        *numbers, reset, mask = ctx.saved_tensors
        parts = len(gradients) // 2
        compute = _gradient_by_scan if are_wanted() else gradient
        return *_thirds(compute(*_thirds(numbers, parts), reset, mask, gradients, ctx.reverse), parts), None, None, None

    operator.register_autograd(backward, setup_context=keep)
    return operator, gradient


def call(
    operator: Callable, decay: Components, inputs: Components, initial_state: Components, marks: Marks, reverse: bool
) -> tuple[Components, Components]:
    """States and final state, as an implementation returns them."""
    results = operator(list(decay), list(inputs), list(initial_state), *marks, reverse)
    return tuple(results[: len(inputs)]), tuple(results[len(inputs) :])


def _gradient_by_scan(decay, states, initial_state, reset, mask, gradients, reverse):
    """The operator `gradient`, in operations that PyTorch differentiates."""
    marks, parts, dtype = Marks(reset, mask), len(decay), initial_state[0].dtype
    decay_in_full, _ = apply_marks(tuple(decay), (), marks, dtype)
    numbers = (states, gradients[:parts], gradients[parts:])
    states_in_full, into_states, into_final = (tuple(x.to(dtype) for x in number) for number in numbers)

    def scan(decay, inputs, initial_state, forgotten, reverse):
        reset = None if forgotten is None else forgotten[..., 0]
        return SCAN.run(decay, inputs, initial_state, reset, None, reverse=reverse)

    arguments = decay_in_full, states_in_full, tuple(initial_state), forgetting(marks), (into_states, into_final)
    into_decay, into_inputs, into_start = gradient_by_scan(scan, *arguments, reverse)
    masked = None if mask is None else ~mask
    into = (*zero_where(masked, into_decay), *zero_where(masked, into_inputs), *into_start)
    return [x.to(like.dtype) for x, like in zip(into, (*decay, *states, *initial_state), strict=True)]


def _like(*tensors):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in tensors]


def _flat(numbers):
    return [component for number in numbers for component in number]


def _thirds(tensors, parts):
    return [list(tensors[i : i + parts]) for i in range(0, 3 * parts, parts)]
