"""On PyTorch: a loop along time over views of the arrays, many chunks of the sequence at once.

The loop stands inside an operator of its own, so that `torch.compile` does not unroll it.
"""

import numpy as np
import torch
from torch import Tensor

from keras_griffin.ops.linear_scan.components import Components

#: A shorter sequence is one chunk: more of them would cost more calls than they save.
_SHORTEST_CUT = 64


def supports(facts) -> str | None:
    """Everything on PyTorch."""
    return None


def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    results = _linear_scan(list(decay), list(inputs), list(initial_state), reverse)
    return tuple(results[: len(inputs)]), tuple(results[len(inputs) :])


@torch.library.custom_op("keras_griffin::linear_scan", mutates_args=())
def _linear_scan(decay: list[Tensor], inputs: list[Tensor], initial_state: list[Tensor], reverse: bool) -> list[Tensor]:
    decay, inputs, state = _number(decay), _number(inputs), _number(initial_state)
    states = _empty_like(inputs)
    _scan(decay, inputs, state, states, reverse)
    return [*_components(states), *_components(states[:, 0 if reverse else -1].clone())]


@_linear_scan.register_fake
def _(decay, inputs, initial_state, reverse):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*inputs, *initial_state)]


@torch.library.custom_op("keras_griffin::linear_scan_gradient", mutates_args=())
def _gradient(
    decay: list[Tensor], states: list[Tensor], initial_state: list[Tensor], gradients: list[Tensor], reverse: bool
) -> list[Tensor]:
    """dx_t = g_t + conj(a_{t+1}) dx_{t+1}, da_t = dx_t conj(h_{t-1}), dh_0 = conj(a_1) dx_1."""
    states_gradient, final_gradient = _number(gradients[: len(decay)]), _number(gradients[len(decay) :])
    decay, states, initial_state = (torch.conj_physical(_number(x)) for x in (decay, states, initial_state))
    first, last = (-1, 0) if reverse else (0, -1)
    later, earlier = slice(1, None), slice(None, -1)
    if reverse:
        later, earlier = earlier, later

    inputs_gradient, decay_gradient = _empty_like(states), _empty_like(states)
    newest = torch.add(states_gradient[:, last], final_gradient, out=inputs_gradient[:, last])
    _scan(decay[:, later], states_gradient[:, earlier], newest, inputs_gradient[:, earlier], not reverse)
    torch.mul(inputs_gradient[:, later], states[:, earlier], out=decay_gradient[:, later])
    torch.mul(inputs_gradient[:, first], initial_state, out=decay_gradient[:, first])
    initial_gradient = decay[:, first] * inputs_gradient[:, first]
    return [*_components(decay_gradient), *_components(inputs_gradient), *_components(initial_gradient)]


@_gradient.register_fake
def _(decay, states, initial_state, gradients, reverse):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*decay, *states, *initial_state)]


def _keep(ctx, inputs, output):
    decay, _, initial_state, ctx.reverse = inputs
    ctx.save_for_backward(*decay, *output[: len(decay)], *initial_state)


def _backward(ctx, gradients):
    kept = ctx.saved_tensors
    parts = len(kept) // 3
    split = [list(kept[i : i + parts]) for i in range(0, 3 * parts, parts)]
    results = _gradient(*split, list(gradients), ctx.reverse)
    return *(results[i : i + parts] for i in range(0, 3 * parts, parts)), None


_linear_scan.register_autograd(_backward, setup_context=_keep)


def _scan(decay, inputs, state, states, reverse):
    """Write the states, `(B, T, D)`; every array may be a view."""
    length = inputs.shape[1]
    # About as many chunks as steps in each, since both are walked through one after the other.
    chunks = 1 if length < _SHORTEST_CUT else 2 ** (length.bit_length() // 2)
    rest = length % chunks
    cut, left = (slice(rest, None), slice(rest)) if reverse else (slice(length - rest), slice(length - rest, None))
    chunked = [x[:, cut].unflatten(1, (chunks, -1)) for x in (decay, inputs, states)]
    starts = _starts(*chunked[:2], state, reverse)
    ends = _walk(*chunked[:2], starts, chunked[2], reverse)
    _walk(decay[:, left], inputs[:, left], ends[:, 0 if reverse else -1], states[:, left], reverse)


def _starts(decay, inputs, state, reverse):
    """The state before each chunk, `(B, chunks, D)`: what chunks make of it is a linear scan of its own."""
    if decay.shape[1] == 1:
        return state[:, None]
    products, ends = torch.ones_like(decay[:, :, 0]), torch.zeros_like(inputs[:, :, 0])
    for a, x in _in_order(reverse, decay, inputs):
        torch.addcmul(x, a, ends, out=ends)
        products *= a
    _walk(products, ends, state, ends, reverse)
    return torch.cat([ends[:, 1:], state[:, None]] if reverse else [state[:, None], ends[:, :-1]], dim=1)


def _walk(decay, inputs, state, states, reverse):
    """Write every state, one step after the other along the last axis but one; returns the last."""
    for a, x, h in _in_order(reverse, decay, inputs, states):
        state = torch.addcmul(x, a, state, out=h)
    return state


def _in_order(reverse, *arrays):
    views = [array.unbind(-2) for array in arrays]
    return zip(*(steps[::-1] if reverse else steps for steps in views), strict=True)


def _empty_like(array):
    """An array of the same shape and dtype, with nothing in it yet."""
    if array.device.type != "cpu":
        return torch.empty_like(array, memory_format=torch.contiguous_format)
    # NumPy asks the system for large pages, PyTorch does not, and the first touch of small ones takes longer than the
    # scan.
    return torch.from_numpy(np.empty(array.shape, str(array.dtype).removeprefix("torch.")))


def _number(components):
    return components[0] if len(components) == 1 else torch.complex(*components)


def _components(number):
    if number.is_complex():
        return number.real.contiguous(), number.imag.contiguous()
    return (number,)
