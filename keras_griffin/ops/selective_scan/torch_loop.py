"""On PyTorch: one chunk of time after another, whose states are in memory only while it is computed.

What enters, outputs and gradients are computed for a whole chunk, `(steps, B, N, D)`; decays and the recurrence go step
by step, in place. The loops are inside their own operators, so that `torch.compile` does not unroll them.
"""

import functools

import torch
from torch import Tensor

from keras_griffin.ops.recurrence.marks import marks_of_steps
from keras_griffin.ops.recurrence.torch_loop import empty_like, may_look
from keras_griffin.ops.recurrence.torch_operator import contiguous_like, with_derivatives
from keras_griffin.ops.selective_scan import portable
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs, with_mask_applied

#: Steps of a chunk. At N = 16 the kept states are half as large as the inputs.
CHUNK = 32


def supports(facts) -> str | None:
    """Everything on PyTorch."""
    return None


def of_operators(operator, gradient):
    """The package's `selective_scan` around custom operators, as in `with_derivatives`.

    The first returns outputs, final state, and the states before chunks of time, which the second needs.
    """

    def again(tensors, reset):
        return portable.selective_scan(SelectiveScanInputs(*tensors[:5]), tensors[5], marks_of_steps(reset, None))

    differentiable = with_derivatives(operator, gradient, again, extra=1)

    @with_mask_applied
    def selective_scan(
        selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The outputs and the last state; see the package."""
        outputs, final_state, _ = differentiable([*selection, initial_state], reset)
        return outputs, final_state

    return selective_scan


def _in_full_precision(function):
    """The function with its products of matrices in their own dtype, also under autocast."""

    @functools.wraps(function)
    def run(tensors, *others):
        with torch.autocast(tensors[0].device.type, enabled=False):
            return function(tensors, *others)

    return run


@torch.library.custom_op("keras_griffin::selective_scan", mutates_args=())
@_in_full_precision
def _selective_scan(tensors: list[Tensor], reset: Tensor | None) -> list[Tensor]:
    selection, initial_state = SelectiveScanInputs(*tensors[:5]), tensors[5]
    inputs = selection.inputs
    rates, state = _rows_of_channels(selection.rates, initial_state.dtype), _rows_of_channels(initial_state)
    outputs, starts = empty_like(inputs), _empty_starts(inputs, state)
    states = _empty_chunk(inputs, state)
    for i, piece in enumerate(_pieces(inputs)):
        starts[i] = state
        there, forgets = _at(selection, piece, state.dtype), _forgetting(reset, piece)
        there_states = _scan_chunk(there, rates, starts[i], forgets, states)
        state = there_states[-1]
        outputs[:, piece] = torch.matmul(there.output_weights[:, :, None], there_states)[:, :, 0].transpose(0, 1)
    return [outputs, state.transpose(1, 2).clone(memory_format=torch.contiguous_format), starts]


@_selective_scan.register_fake
def _(tensors, reset):
    inputs, state = tensors[0], tensors[5]
    return [contiguous_like(inputs), contiguous_like(state), _empty_starts(inputs, state.transpose(1, 2))]


@torch.library.custom_op("keras_griffin::selective_scan_gradient", mutates_args=())
@_in_full_precision
def _gradient(tensors: list[Tensor], kept: list[Tensor], gradients: list[Tensor], reset: Tensor | None) -> list[Tensor]:
    selection, (starts,), (outputs_gradient, final_gradient) = SelectiveScanInputs(*tensors[:5]), kept, gradients
    inputs = selection.inputs
    dtype, into_state = starts.dtype, _rows_of_channels(final_gradient)
    into_rates = torch.zeros_like(into_state)
    into = SelectiveScanInputs(*map(empty_like, selection))._replace(rates=into_rates.mT)
    rates = _rows_of_channels(selection.rates, dtype)
    states, into_states = (_empty_chunk(inputs, into_state) for _ in range(2))
    pieces = _pieces(inputs)
    for i in reversed(range(len(pieces))):
        piece = pieces[i]
        there, forgets = _at(selection, piece, dtype), _forgetting(reset, piece)
        u, s, _, b, c = there
        into_outputs = outputs_gradient[:, piece].transpose(0, 1).to(dtype)
        h = _scan_chunk(there, rates, starts[i], forgets, states)
        into.output_weights[:, piece] = torch.matmul(h, into_outputs[..., None])[..., 0].transpose(0, 1)
        g = torch.mul(c[..., None], into_outputs[:, :, None], out=into_states[: len(u)])
        into_state, into_power = _scan_back(there, rates, h, starts[i], g, into_state, forgets)
        into.input_weights[:, piece] = torch.matmul(g, (s * u)[..., None])[..., 0].transpose(0, 1)
        into_entering = torch.matmul(b[:, :, None], g)[:, :, 0]
        into.inputs[:, piece] = (into_entering * s).transpose(0, 1)
        into_sizes = torch.mul(into_power, rates, out=g).sum(2).addcmul_(into_entering, u)
        into.step_sizes[:, piece] = into_sizes.transpose(0, 1)
        into_rates += into_power.mul_(s[:, :, None]).sum(0)
    return [*(x.contiguous() for x in into), into_state.transpose(1, 2).clone(memory_format=torch.contiguous_format)]


selective_scan = of_operators(_selective_scan, _gradient)


def _scan_chunk(there, rates, state, forgets, states):
    """Write the states of a chunk into the first of the rows of an array; returns these rows."""
    u, s, _, b, _ = there
    states, decay = states[: len(u)], torch.empty_like(state)
    # What enters is where the state will be.
    torch.mul((s * u)[:, :, None], b[..., None], out=states)
    for t, (sizes, h) in enumerate(zip(s[:, :, None].unbind(), states.unbind(), strict=True)):
        past = state if forgets is None else state.masked_fill(forgets[t], 0.0)
        state = torch.addcmul(h, torch.mul(sizes, rates, out=decay).exp_(), past, out=h)
    return states


def _scan_back(there, rates, states, start, into_states, into_state, forgets):
    """Write g_t + a_{t+1} g_{t+1} over g_t, and the gradients for the powers s_t A, returned last, over the states."""
    decay, into_state = torch.empty_like(start), into_state.clone()
    steps = zip(there.step_sizes[:, :, None].unbind(), states.unbind(), into_states.unbind(), strict=True)
    for t, (sizes, h, g) in reversed(list(enumerate(steps))):
        torch.mul(sizes, rates, out=decay).exp_()
        torch.mul(g.add_(into_state), decay, out=into_state)
        torch.mul(into_state, states[t - 1] if t else start, out=h)
        if forgets is not None:
            into_state.masked_fill_(forgets[t], 0.0)
            h.masked_fill_(forgets[t], 0.0)
    return into_state, states


def _pieces(inputs) -> list[slice]:
    """The chunks of time."""
    length = inputs.shape[1]
    return [slice(start, min(start + CHUNK, length)) for start in range(0, length, CHUNK)]


def _at(selection, piece, dtype):
    """The steps of a chunk, time first."""
    return selection.map_sequences(lambda x: x[:, piece].transpose(0, 1).to(dtype))


def _forgetting(reset, piece):
    """Where a chunk forgets the past, `(steps, B, 1, 1)`; on a CPU None if nowhere."""
    if reset is None or (may_look(reset) and not reset[:, piece].any()):
        return None
    return reset[:, piece].T[..., None, None]


def _rows_of_channels(array, dtype=None):
    """`(..., D, N)` as `(..., N, D)`."""
    return array.transpose(-1, -2).contiguous().to(dtype or array.dtype)


def _empty_starts(inputs, state):
    """For the state before each chunk, `(chunks, B, N, D)`."""
    return state.new_empty((-(-inputs.shape[1] // CHUNK), *state.shape))


def _empty_chunk(inputs, state):
    """For the numbers of a chunk, `(steps, B, N, D)`."""
    return state.new_empty((min(CHUNK, inputs.shape[1]), *state.shape))
