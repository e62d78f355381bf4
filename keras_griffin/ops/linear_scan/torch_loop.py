"""On PyTorch: a loop along time over views of the arrays, many chunks of the sequence at once.

The loop stands inside an operator of its own, so that `torch.compile` does not unroll it.
"""

import numpy as np
import torch
from torch import Tensor

from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.ops.linear_scan.marks import on_effective

#: A shorter sequence is one chunk: more of them would cost more calls than they save.
_SHORTEST_CUT = 64
#: Bytes from which on NumPy asks the system for large pages, which PyTorch does not.
_LARGE = 2**22


def supports(facts) -> str | None:
    """Everything on PyTorch."""
    return None


@on_effective
def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    results = _linear_scan(list(decay), list(inputs), list(initial_state), reverse)
    return tuple(results[: len(inputs)]), tuple(results[len(inputs) :])


@torch.library.custom_op("keras_griffin::linear_scan", mutates_args=())
def _linear_scan(decay: list[Tensor], inputs: list[Tensor], initial_state: list[Tensor], reverse: bool) -> list[Tensor]:
    decay, inputs, state = as_number(decay), as_number(inputs), as_number(initial_state)
    states = empty_like(inputs)
    scan_into(states, decay, inputs, state, reverse)
    return [*as_components(states), *as_components(states[:, 0 if reverse else -1].clone())]


@_linear_scan.register_fake
def _(decay, inputs, initial_state, reverse):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*inputs, *initial_state)]


@torch.library.custom_op("keras_griffin::linear_scan_gradient", mutates_args=())
def _gradient(
    decay: list[Tensor], states: list[Tensor], initial_state: list[Tensor], gradients: list[Tensor], reverse: bool
) -> list[Tensor]:
    numbers = (decay, states, initial_state, gradients[: len(decay)], gradients[len(decay) :])
    results = scan_gradient(*map(as_number, numbers), reverse)
    return [component for number in results for component in as_components(number)]


@_gradient.register_fake
def _(decay, states, initial_state, gradients, reverse):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (*decay, *states, *initial_state)]


def scan_gradient(
    decay: Tensor, states: Tensor, initial_state: Tensor, states_gradient: Tensor, final_gradient: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """dx_t = g_t + conj(a_{t+1}) dx_{t+1}, da_t = dx_t conj(h_{t-1}), dh_0 = conj(a_1) dx_1.

    Every argument is one tensor, real or complex, and may be a view.

    Returns:
        The gradients for decay, inputs and initial state.
    """
    decay, states, initial_state = (torch.conj_physical(x) for x in (decay, states, initial_state))
    first, last = (-1, 0) if reverse else (0, -1)
    later, earlier = slice(1, None), slice(None, -1)
    if reverse:
        later, earlier = earlier, later

    inputs_gradient, decay_gradient = empty_like(states), empty_like(states)
    newest = torch.add(states_gradient[:, last], final_gradient, out=inputs_gradient[:, last])
    scan_into(inputs_gradient[:, earlier], decay[:, later], states_gradient[:, earlier], newest, not reverse)
    torch.mul(inputs_gradient[:, later], states[:, earlier], out=decay_gradient[:, later])
    torch.mul(inputs_gradient[:, first], initial_state, out=decay_gradient[:, first])
    return decay_gradient, inputs_gradient, decay[:, first] * inputs_gradient[:, first]


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


def scan_into(states: Tensor, decay: Tensor, inputs: Tensor, state: Tensor, reverse: bool):
    """Write the states, `(B, T, D)`; every argument is one tensor, real or complex, and may be a view."""
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


def empty_like(array: Tensor) -> Tensor:
    """An array of the same shape and dtype, with nothing in it yet."""
    if array.device.type != "cpu" or array.nbytes < _LARGE:
        return torch.empty_like(array, memory_format=torch.contiguous_format)
    # The first touch of small pages takes longer than the scan. In bytes, because NumPy knows no bfloat16.
    *shape, width = array.shape
    return torch.from_numpy(np.empty((*shape, width * array.itemsize), "uint8")).view(array.dtype)


def as_number(components: Components) -> Tensor:
    """One tensor, real or complex."""
    return components[0] if len(components) == 1 else torch.complex(*components)


def as_components(number: Tensor) -> Components:
    """`(real,)` or `(real, imaginary)`."""
    if number.is_complex():
        return number.real.contiguous(), number.imag.contiguous()
    return (number,)
