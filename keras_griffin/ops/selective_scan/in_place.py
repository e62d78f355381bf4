"""A loop over chunks of time, which keeps the state before each, and one such loop back for the gradients.

The loop back computes a chunk's states again, and then walks through them from its last step to its first. Both are for
compilers that update arrays in place; see `recurrence/in_place.py`. A state is `(B, N, D)` here: sums over N then add
whole rows of channels.
"""

from collections.abc import Callable
from typing import Protocol

from keras import ops

from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.shared.padding import first_steps
from keras_griffin.shapes import Tensor


class Arrays(Protocol):
    """What a backend's arrays can do; a module has these functions."""

    def chunks_of(self, array: Tensor) -> tuple:
        """The number of chunks of `(B, T, ...)`, and the steps of each; together at least T."""

    def at(self, array: Tensor, place, axis: int) -> Tensor:
        """The part of an array at a place of an axis, without the axis."""

    def padded(self, array: Tensor, length) -> Tensor:
        """The sequence `(B, T, ...)` with zeros behind it, up to a length."""

    def stacked(self, array: Tensor, count) -> Tensor:
        """Copies of an array along a new first axis."""

    def loop(self, count, step: Callable, carried: tuple) -> tuple:
        """What is carried through `step(t, *carried)` for t = 0 .. count - 1."""


class InPlace:
    """The loops over the arrays of one backend."""

    def __init__(self, arrays: Arrays):
        self.arrays = arrays

    def scan(
        self, selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs, the last state, and the states before the chunks, `(chunks, B, N, D)`."""
        loop = self.arrays.loop
        padded, reset, chunks, steps = self._padded(selection, reset, initial_state.dtype)
        rates = ops.transpose(padded.rates)

        def chunk(i, state, starts, outputs):
            def step(k, state, outputs):
                here = self._step(padded, reset, i * steps + k)
                state = advance(rates, state, *here)
                return state, _written(outputs, i * steps + k, output(state, here[0]))

            starts = ops.slice_update(starts, (i, 0, 0, 0), state[None])
            state, outputs = loop(steps, step, (state, outputs))
            return state, starts, outputs

        state = ops.swapaxes(initial_state, 1, 2)
        # Every output is overwritten; like all that is carried, they vary over the devices of the arguments.
        carried = state, self.arrays.stacked(state, chunks), padded.inputs
        state, starts, outputs = loop(chunks, chunk, carried)
        return _like(selection.inputs, outputs), ops.swapaxes(state, 1, 2), starts

    def scan_gradient(
        self, selection: SelectiveScanInputs, starts: Tensor, reset: Tensor | None, gradients: tuple[Tensor, Tensor]
    ) -> tuple[SelectiveScanInputs, Tensor]:
        """The gradients for selection and initial state, from those for outputs and last state."""
        loop, at, dtype = self.arrays.loop, self.arrays.at, starts.dtype
        padded, reset, chunks, steps = self._padded(selection, reset, dtype)
        rates = ops.transpose(padded.rates)
        into_outputs = self.arrays.padded(ops.cast(gradients[0], dtype), chunks * steps)

        def chunk(i, gradient, into_rates, *into_sequences):
            first = (chunks - 1 - i) * steps

            def step(k, state, before):
                before = ops.slice_update(before, (k, 0, 0, 0), state[None])
                return advance(rates, state, *self._step(padded, reset, first + k)), before

            def step_back(k, gradient, into_rates, *into_sequences):
                k = steps - 1 - k
                here, into_output = self._step(padded, reset, first + k), at(into_outputs, first + k, 1)
                gradient, into_rates_here, into_step = retreat(rates, gradient, at(before, k, 0), *here, into_output)
                pairs = zip(into_sequences, into_step, strict=True)
                return gradient, into_rates + into_rates_here, *(_written(x, first + k, row) for x, row in pairs)

            start = at(starts, chunks - 1 - i, 0)
            _, before = loop(steps, step, (start, self.arrays.stacked(start, steps)))
            return loop(steps, step_back, (gradient, into_rates, *into_sequences))

        gradient = ops.swapaxes(gradients[1], 1, 2)
        zeros = 0.0 * ops.cast(ops.isnan(gradient), dtype)
        sequences = (x for x in padded if x is not padded.rates)
        gradient, into_rates, *into = loop(chunks, chunk, (gradient, zeros, *sequences))
        u, s, b, c = (_like(x, part) for x, part in zip((*selection[:2], *selection[3:]), into, strict=True))
        into_rates = ops.cast(ops.transpose(ops.sum(into_rates, axis=0)), selection.rates.dtype)
        return SelectiveScanInputs(u, s, into_rates, b, c), ops.swapaxes(gradient, 1, 2)

    def _padded(self, selection, reset, dtype):
        """Selection and resets for a whole number of chunks, this number, and the steps of each."""
        chunks, steps = self.arrays.chunks_of(selection.inputs)
        # On a CPU, XLA writes no row of bfloat16 in place.
        selection = SelectiveScanInputs(*(ops.cast(x, dtype) for x in selection))
        # A step of size zero changes no state.
        padded = selection.map_sequences(lambda x: self.arrays.padded(x, chunks * steps))
        return padded, None if reset is None else self.arrays.padded(reset, chunks * steps), chunks, steps

    def _step(self, selection, reset, t):
        """The numbers of a step, the rates aside, and where it forgets, `(B, 1, 1)`."""
        step = selection.map_sequences(lambda x: self.arrays.at(x, t, 1))
        return step, None if reset is None else self.arrays.at(reset, t, 1)[:, None, None]


def advance(rates: Tensor, state: Tensor, step: SelectiveScanInputs, forgets: Tensor | None) -> Tensor:
    """The state after a step. `rates`: (N, D); `state`: (B, N, D); `step`: (B, D) or (B, N); `forgets`: (B, 1, 1)."""
    entering = (step.step_sizes * step.inputs)[:, None] * step.input_weights[..., None]
    return ops.exp(step.step_sizes[:, None] * rates) * _zero_where(forgets, state) + entering


def output(state: Tensor, step: SelectiveScanInputs) -> Tensor:
    """y_t, `(B, D)`, of the state after a step."""
    return ops.sum(state * step.output_weights[..., None], axis=1)


def retreat(
    rates: Tensor,
    gradient: Tensor,
    before: Tensor,
    step: SelectiveScanInputs,
    forgets: Tensor | None,
    into_output: Tensor,
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """From the gradients for h_t without y_t's part, and for y_t: for h_{t-1}, for each row's A, and for u, s, b, c."""
    inputs, sizes, _, b, c = step
    decay, scaled, before = ops.exp(sizes[:, None] * rates), sizes * inputs, _zero_where(forgets, before)
    state = decay * before + scaled[:, None] * b[..., None]
    gradient = gradient + c[..., None] * into_output[:, None]
    into_entering = ops.sum(gradient * b[..., None], axis=1)
    into_power = decay * gradient * before
    into_sizes = ops.sum(into_power * rates, axis=1) + into_entering * inputs
    into_b, into_c = (ops.einsum("bnd,bd->bn", x, y) for x, y in ((gradient, scaled), (state, into_output)))
    into_step = into_entering * sizes, into_sizes, into_b, into_c
    return _zero_where(forgets, decay * gradient), into_power * sizes[:, None], into_step


def _zero_where(forgets, state):
    """Zero where the past is forgotten: a decay of 0 times NaN would be NaN."""
    return state if forgets is None else ops.where(forgets, 0.0, state)


def _written(array, t, row):
    return ops.slice_update(array, (0, t, 0), row[:, None])


def _like(array, padded):
    """As many steps as an array has, in its dtype."""
    return ops.cast(first_steps(padded, ops.shape(array)[1]), array.dtype)
