"""The derivatives of PyTorch's operators for `linear_scan`, of any order: each is one more scan.

One operator computes the states h. From the gradients g for them and f for the last, the other computes the gradients

    l_t = g_t + conj(a_{t+1}) l_{t+1}      for x, with f added to g_T
    l_t conj(h_{t-1})                      for a
    conj(a_1) l_1                          for h_0

A tangent is marked with ':

    h'_t = a_t h'_{t-1} + (x'_t + a'_t h_{t-1})
    l'_t = (g'_t + conj(a'_{t+1}) l_{t+1}) + conj(a_{t+1}) l'_{t+1}

From the gradients u, v and w for those for a, x and h_0:

    m_t = a_t m_{t-1} + (v_t + u_t h_{t-1})      for g, with m_0 = w; m_T for f
    l_t conj(m_{t-1})                            for a
    l_t conj(u_t)                                for h_{t-1}

At a reset or masked step, products with a decay or its derivatives are left out: zero times NaN is NaN.
"""

import torch
from torch import Tensor

from keras_griffin.ops.linear_scan.components import Components, add, conjugate, multiply
from keras_griffin.ops.torch_transforms import transformable


def with_derivatives(operator, gradient, axes_of_marks: str):
    """The operator as a function that PyTorch differentiates, transforms, and differentiates again.

    Args:
        operator: a `torch.library.custom_op` of `(decay, inputs, initial_state, *marks, reverse)`; it returns states
            and last state as one list.
        gradient: one of `(decay, states, initial_state, *marks, gradients, reverse)`, where `gradients` are those for
            states and last state; it returns the gradients for decay, inputs and initial_state as one list.
        axes_of_marks: `"bt"` if the marks are where the past is forgotten, `"bt bt"` if they are resets and mask.
    """

    def keep(ctx, inputs, output):
        decay, _, initial_state, *marks, ctx.reverse = inputs
        ctx.save_for_backward(*decay, *output[: len(decay)], *initial_state, *marks)

    def backward(ctx, *gradients):
        parts = len(gradients) // 2
        (decay, states, initial_state), marks = _split(ctx.saved_tensors, parts)
        results = run_gradient(decay, states, initial_state, *marks, list(gradients), ctx.reverse)
        return *_split(results, parts)[0], *(None for _ in marks), None

    def jvp(inputs, outputs, tangents):
        decay, _, initial_state, *marks, reverse = inputs
        into_decay, into_inputs, into_state = tangents[:3]
        before = states_before(outputs[: len(decay)], initial_state, reverse)
        entering = tangent_entering(into_inputs, into_decay, before, marks)
        return run(decay, entering, into_state, *marks, reverse)

    def keep_gradient(ctx, inputs, output):
        decay, states, initial_state, *marks, _, ctx.reverse = inputs
        parts = len(decay)
        ctx.save_for_backward(*decay, *states, *initial_state, *output[parts : 2 * parts], *marks)

    def backward_of_gradient(ctx, *gradients):
        parts, reverse = len(gradients) // 3, ctx.reverse
        (decay, states, initial_state, flow), marks = _split(ctx.saved_tensors, parts, 4)
        # Named as above; the flow is l.
        (u, v, w), _ = _split(gradients, parts)
        u, flow = _unmarked(u, marks), _unmarked(flow, marks)
        entering = tangent_entering(v, u, states_before(states, initial_state, reverse), marks)
        m = run(decay, entering, w, *marks, reverse)
        into_decay = multiply(flow, conjugate(_unmarked(states_before(m[:parts], w, reverse), marks)))
        into_before = multiply(flow, conjugate(u))
        into_states, into_start = _after(into_before, reverse), _first(into_before, reverse)
        return list(into_decay), list(into_states), list(into_start), *(None for _ in marks), list(m), None

    def jvp_of_gradient(inputs, outputs, tangents):
        decay, states, initial_state, *marks, _, reverse = inputs
        parts = len(decay)
        decay_tangent, states_tangent, start_tangent, *_, gradients_tangent, _ = tangents
        flow = _unmarked(outputs[parts : 2 * parts], marks)
        product = multiply(flow, conjugate(_unmarked(decay_tangent, marks)))
        entering = add(tuple(gradients_tangent[:parts]), _after(product, reverse))
        gradients = [*_like(entering, gradients_tangent), *gradients_tangent[parts:]]
        results = run_gradient(decay, states, initial_state, *marks, gradients, reverse)
        (into_decay, into_inputs, into_start), _ = _split(results, parts)
        past_tangent = _unmarked(states_before(states_tangent, start_tangent, reverse), marks)
        into_decay = add(into_decay, multiply(flow, conjugate(past_tangent)))
        into_start = add(into_start, _first(product, reverse))
        return _like([*into_decay, *into_inputs, *into_start], outputs)

    run = transformable("linear_scan", operator, f"btd btd bd {axes_of_marks} . -> b*d", keep, backward, jvp)
    axes = f"btd btd bd {axes_of_marks} b*d . -> b*d"
    run_gradient = transformable("linear_scan", gradient, axes, keep_gradient, backward_of_gradient, jvp_of_gradient)
    return run


def tangent_entering(inputs, decay, before, marks) -> list[Tensor]:
    """x + a h where h is not forgotten, in the dtype of x."""
    return _like(add(inputs, multiply(_unmarked(decay, marks), _unmarked(before, marks))), inputs)


def _unmarked(number, marks) -> Components:
    """The number, but zero at the marked steps."""
    reset, mask = marks if len(marks) == 2 else (*marks, None)
    for at in (reset, None if mask is None else ~mask):
        number = number if at is None else [x.masked_fill(at, 0.0) for x in number]
    return tuple(number)


def states_before(states, start, reverse) -> Components:
    """The state before each step."""
    return tuple(_shifted(x, first[:, None].to(x.dtype), reverse) for x, first in zip(states, start, strict=True))


def _after(number, reverse) -> Components:
    """The number one step later; zero after the last."""
    return tuple(_shifted(x, torch.zeros_like(x[:, :1]), not reverse) for x in number)


def _first(number, reverse) -> Components:
    """The number at the first step."""
    return tuple(x[:, -1 if reverse else 0] for x in number)


def _shifted(x, first, reverse):
    return torch.cat([x[:, 1:], first], 1) if reverse else torch.cat([first, x[:, :-1]], 1)


def _like(number, others) -> list[Tensor]:
    """The number in the dtypes of others."""
    return [x.to(other.dtype) for x, other in zip(number, others, strict=False)]


def _split(tensors, parts, count=3):
    """The first numbers of tensors, each a list of components, and what follows them."""
    numbers = [list(tensors[i * parts : (i + 1) * parts]) for i in range(count)]
    return numbers, tensors[count * parts :]
