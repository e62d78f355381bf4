"""On PyTorch: a loop along time into the output, and the loop of `linear_scan` backward, each inside an operator."""

import torch
from torch import Tensor

from keras_griffin.ops.log_scan.log_numbers import LOG, apply_marks, log_odds
from keras_griffin.ops.recurrence.marks import forgetting
from keras_griffin.ops.recurrence.prefix import scan
from keras_griffin.ops.recurrence.torch_loop import empty_like, fill_, scan_into
from keras_griffin.ops.shared.torch_second_derivatives import are_wanted, differentiable_gradient


def supports(facts) -> str | None:
    """Everything on PyTorch."""
    return None


def log_scan(decay, inputs, initial_state, marks):
    """Every state and the last one; see the package."""
    numbers = apply_marks(decay, inputs, marks, initial_state.dtype)
    return _log_scan(*numbers, initial_state, forgetting(marks))


@torch.library.custom_op("keras_griffin::log_scan", mutates_args=())
def _log_scan(decay: Tensor, inputs: Tensor, initial_state: Tensor, forgotten: Tensor | None) -> tuple[Tensor, Tensor]:
    states, past, state = empty_like(inputs), torch.empty_like(initial_state), initial_state
    marks = [None] * inputs.shape[1] if forgotten is None else forgotten.unbind(1)
    for d, x, is_forgotten, h in zip(decay.unbind(1), inputs.unbind(1), marks, states.unbind(1), strict=True):
        torch.add(state, d, out=past)
        if is_forgotten is not None:
            past.masked_fill_(is_forgotten, -float("inf"))
        state = torch.logaddexp(past, x, out=h)
    return states, state.clone()


@_log_scan.register_fake
def _(decay, inputs, initial_state, forgotten):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (inputs, initial_state))


@torch.library.custom_op("keras_griffin::log_scan_gradient", mutates_args=())
def _gradient(
    decay: Tensor,
    inputs: Tensor,
    states: Tensor,
    initial_state: Tensor,
    states_gradient: Tensor,
    final_gradient: Tensor,
    forgotten: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    odds = log_odds(decay, inputs, states, initial_state, forgotten)
    past, flow, later = torch.sigmoid(odds), empty_like(inputs), slice(1, None)
    if forgotten is not None:
        fill_(past, forgotten, 0.0)
    last = torch.add(states_gradient[:, -1], final_gradient, out=flow[:, -1])
    later_forgotten = None if forgotten is None else forgotten[:, later]
    scan_into(flow[:, :-1], past[:, later], states_gradient[:, :-1], last, later_forgotten, reverse=True)
    into_inputs = flow * torch.sigmoid(odds.neg_())
    into_decay = flow.mul_(past)
    if forgotten is not None:
        # Zero times NaN is NaN.
        fill_(into_decay, forgotten, 0.0)
    return into_decay, into_inputs, into_decay[:, 0].clone()


@_gradient.register_fake
def _(decay, inputs, states, initial_state, states_gradient, final_gradient, forgotten):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (decay, inputs, initial_state))


def _keep(ctx, inputs, output):
    decay, inputs, initial_state, forgotten = inputs
    ctx.save_for_backward(decay, inputs, output[0], initial_state, forgotten)


def _backward(ctx, *gradients):
    decay, inputs, states, initial_state, forgotten = ctx.saved_tensors
    if not are_wanted():
        return *_gradient(decay, inputs, states, initial_state, *gradients, forgotten), None

    def again(decay, inputs, initial_state):
        (states,), (final_state,) = scan((decay,), (inputs,), (initial_state,), forgotten, False, LOG)
        return states, final_state

    return *differentiable_gradient(again, (decay, inputs, initial_state), gradients), None


_log_scan.register_autograd(_backward, setup_context=_keep)
