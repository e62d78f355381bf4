"""On PyTorch: a loop along time over views of the arrays, many chunks of the sequence at once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from keras_griffin.ops.recurrence.numbers import Components

#: A shorter sequence is one chunk: more chunks would cost more calls than they save.
_SHORTEST_CUT = 64
#: The size in bytes from which NumPy requests large pages from the system; PyTorch does not.
_LARGE = 2**22


def scan_gradient(
    decay: Tensor,
    states: Tensor,
    initial_state: Tensor,
    states_gradient: Tensor,
    final_gradient: Tensor,
    forgotten: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients for decay, inputs and initial state. Every number is one tensor, real or complex, or a view.

    dx_t = g_t + conj(a_{t+1}) dx_{t+1}, da_t = dx_t conj(h_{t-1}), dh_0 = conj(a_1) dx_1.
    """
    decay, states, initial_state = (torch.conj_physical(x) for x in (decay, states, initial_state))
    first, last = (-1, 0) if reverse else (0, -1)
    later, earlier = slice(1, None), slice(None, -1)
    if reverse:
        later, earlier = earlier, later

    inputs_gradient, decay_gradient = empty_like(states), empty_like(states)
    newest = torch.add(states_gradient[:, last], final_gradient, out=inputs_gradient[:, last])
    steps = (inputs_gradient[:, earlier], decay[:, later], states_gradient[:, earlier])
    scan_into(*steps, newest, None if forgotten is None else forgotten[:, later], not reverse)
    torch.mul(inputs_gradient[:, later], states[:, earlier], out=decay_gradient[:, later])
    torch.mul(inputs_gradient[:, first], initial_state, out=decay_gradient[:, first])
    into_start = decay[:, first] * inputs_gradient[:, first]
    if forgotten is not None:
        fill_(decay_gradient, forgotten, 0.0)
        into_start.masked_fill_(forgotten[:, first], 0.0)
    return decay_gradient, inputs_gradient, into_start


def scan_into(states: Tensor, decay: Tensor, inputs: Tensor, state: Tensor, forgotten: Tensor | None, reverse: bool):
    """Write the states. `states`, `decay`, `inputs`: (B, T, D), as for `scan_gradient`; `forgotten`: (B, T, 1) bool."""
    # On a CPU the first scan only multiplies by the decay of 0: selecting at every step would take half as long again.
    # A value that is not finite shows in the states at the steps that should have forgotten it, and then everything is
    # scanned again. Other devices always select, since a check would synchronise with them.
    if forgotten is None or may_look(forgotten):
        _scan_chunks(states, decay, inputs, state, None, reverse)
        if forgotten is None or _are_finite(states, places(forgotten)):
            return
    _scan_chunks(states, decay.masked_fill(forgotten, 0.0), inputs, state, forgotten, reverse)


def _are_finite(states, at):
    # The sum may overflow, which only costs an unnecessary second scan.
    return not len(at[0]) or bool(torch.isfinite(states[at].sum()))


def _scan_chunks(states, decay, inputs, state, forgotten, reverse):
    length = inputs.shape[1]
    # About as many chunks as steps in each, since both are walked through sequentially.
    chunks = 1 if length < _SHORTEST_CUT else 2 ** (length.bit_length() // 2)
    rest = length % chunks
    cut, left = (slice(rest, None), slice(rest)) if reverse else (slice(length - rest), slice(length - rest, None))
    arrays = (decay, inputs, states, forgotten)
    decay, inputs, states, forgotten = (_map(lambda x: x[:, cut].unflatten(1, (chunks, -1)), x) for x in arrays)
    ends = _walk(decay, inputs, _starts(decay, inputs, state, forgotten, reverse), states, forgotten, reverse)
    decay, inputs, states, forgotten = (_map(lambda x: x[:, left], x) for x in arrays)
    _walk(decay, inputs, ends[:, 0 if reverse else -1], states, forgotten, reverse)


def _map(function, array):
    return None if array is None else function(array)


def _starts(decay, inputs, state, forgotten, reverse):
    """The state before each chunk, `(B, chunks, D)`: itself a linear scan, over the chunks."""
    if decay.shape[1] == 1:
        return state[:, None]
    products, ends = torch.ones_like(decay[:, :, 0]), torch.zeros_like(inputs[:, :, 0])
    for a, x, is_forgotten in _in_order(reverse, decay, inputs, forgotten):
        torch.addcmul(x, a, ends if is_forgotten is None else _zero_where(is_forgotten, ends), out=ends)
        products *= a
    if forgotten is not None:
        # The chunk forgets its initial state, and its decays before that may be anything.
        forgotten = forgotten.any(2)
        products.masked_fill_(forgotten, 0.0)
    _walk(products, ends, state, ends, forgotten, reverse)
    return torch.cat([ends[:, 1:], state[:, None]] if reverse else [state[:, None], ends[:, :-1]], dim=1)


def _walk(decay, inputs, state, states, forgotten, reverse):
    """Write every state, one step after the other along the second-to-last axis; returns the last."""
    for a, x, h, is_forgotten in _in_order(reverse, decay, inputs, states, forgotten):
        state = torch.addcmul(x, a, state if is_forgotten is None else _zero_where(is_forgotten, state), out=h)
    return state


def _zero_where(is_forgotten, state):
    return state.masked_fill(is_forgotten, 0.0)


def _in_order(reverse, *arrays):
    length = arrays[0].shape[-2]
    views = [[None] * length if array is None else array.unbind(-2) for array in arrays]
    return zip(*(steps[::-1] if reverse else steps for steps in views), strict=True)


def empty_like(array: Tensor) -> Tensor:
    """An uninitialised array of the same shape and dtype."""
    if array.device.type != "cpu" or array.nbytes < _LARGE:
        return torch.empty_like(array, memory_format=torch.contiguous_format)
    # Touching small pages for the first time takes longer than the scan. In bytes, because NumPy lacks bfloat16.
    *shape, width = array.shape
    return torch.from_numpy(np.empty((*shape, width * array.itemsize), "uint8")).view(array.dtype)


def as_number(components: Sequence[Tensor]) -> Tensor:
    """One tensor, real or complex."""
    return components[0] if len(components) == 1 else torch.complex(*components)


def as_components(number: Tensor) -> Components:
    """`(real,)` or `(real, imaginary)`."""
    if number.is_complex():
        # Copies: where each is contiguous as it is, an operator's results would share memory.
        return tuple(part.clone(memory_format=torch.contiguous_format) for part in (number.real, number.imag))
    return (number,)


def may_look(mark: Tensor) -> bool:
    """Whether values can be read without synchronising with a device."""
    return mark.device.type == "cpu"


def places(mark: Tensor) -> tuple[Tensor, Tensor]:
    """The rows and steps at which a mark `(B, T, 1)` is True."""
    return mark[..., 0].nonzero(as_tuple=True)


def fill_(array: Tensor, mark: Tensor, value: float) -> Tensor:
    """Write a value into `(B, T, D)` at the marked steps; returns the array."""
    if not may_look(mark):
        return array.masked_fill_(mark, value)
    array[places(mark)] = value
    return array
