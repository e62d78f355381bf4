"""One loop along time, and one backward for the gradients, for compilers that update arrays in place.

XLA updates an array in place if every read of it comes before the write or reads the written version. So each row is
computed from the newest version of the arrays, and a row is never used for two writes; otherwise every step would copy
whole arrays.
"""

from typing import Protocol

from keras import ops

from keras_griffin.ops.recurrence.marks import zero_where
from keras_griffin.ops.recurrence.numbers import LINEAR, Components, Semiring, add, conjugate, multiply
from keras_griffin.shapes import Tensor


class Arrays(Protocol):
    """What a backend's arrays can do; a module has these functions."""

    def length(self, array: Tensor) -> Tensor | int:
        """T, or 1 for an empty sequence."""

    def row(self, array: Tensor, place) -> Tensor:
        """The row `(B, 1, D)` at a step; none of an empty array."""

    def loop(self, stop, step, arrays: Components) -> Components:
        """The arrays after `arrays = step(t, arrays)` for t = 1 .. stop - 1."""


class InPlace:
    """The loops over the arrays of one backend."""

    def __init__(self, arrays: Arrays):
        self.arrays = arrays

    def scan(
        self,
        decay: Components,
        inputs: Components,
        initial_state: Components,
        forgotten: Tensor | None,
        reverse: bool,
        semiring: Semiring = LINEAR,
    ) -> tuple[Components, Components]:
        """Every state and the last one, forward only; `scan_gradient` is the derivative in linear arithmetic."""
        length = self.arrays.length(inputs[0])
        at = _order(length, reverse)

        def step(t, states):
            # `states` holds finished states before step t, and still the inputs from there on.
            return self._write(
                states, at(t), lambda now: semiring.plus(entering(t, self._row(now, at(t - 1))), self._row(now, at(t)))
            )

        def entering(t, state):
            past = semiring.times(self._row(decay, at(t)), state)
            return zero_where(self._mark(forgotten, at(t)), past, semiring.zero)

        first = entering(0, _as_row(initial_state))
        states = self._write(inputs, at(0), lambda now: semiring.plus(first, self._row(now, at(0))))
        states = self.arrays.loop(length, step, states)
        # Joined, since an empty sequence has no last row.
        rows = zip(_as_row(initial_state), self._row(states, at(length - 1)), strict=True)
        return states, tuple(_join(start, row)[:, -1] for start, row in rows)

    def scan_gradient(
        self,
        decay: Components,
        states: Components,
        initial_state: Components,
        forgotten: Tensor | None,
        gradients: tuple[Components, Components],
        reverse: bool,
    ) -> tuple[Components, Components, Components]:
        """The gradients for decay, inputs and initial state, from those for the results of `scan`.

        dx_t = g_t + conj(a_{t+1}) dx_{t+1}, written over g; then all da_t = dx_t conj(h_{t-1}) at once.
        """
        states_gradient, final_gradient = gradients
        length = self.arrays.length(states[0])
        at = _order(length, reverse)

        def step(i, gradient):
            t = length - 1 - i
            return self._write(gradient, at(t), lambda now: add(self._row(now, at(t)), leaving(t + 1, now)))

        def leaving(t, gradient):
            product = multiply(conjugate(self._row(decay, at(t))), self._row(gradient, at(t)))
            return zero_where(self._mark(forgotten, at(t)), product)

        last = at(length - 1)
        gradient = self._write(states_gradient, last, lambda now: add(self._row(now, last), _as_row(final_gradient)))
        gradient = self.arrays.loop(length, step, gradient)
        pairs = zip(states, _as_row(initial_state), strict=True)
        before = tuple(_join(h[:, 1:], start) if reverse else _join(start, h[:, :-1]) for h, start in pairs)
        into_decay = multiply(gradient, conjugate(zero_where(forgotten, before)))
        return into_decay, gradient, tuple(ops.sum(row, axis=1) for row in leaving(0, gradient))

    def _row(self, arrays, place):
        return tuple(self.arrays.row(array, place) for array in arrays)

    def _mark(self, forgotten, place):
        return None if forgotten is None else self.arrays.row(forgotten, place)

    def _write(self, arrays, place, compute):
        """Write the row that `compute` derives from the arrays, one component after the other."""
        for index in range(len(arrays)):
            written = ops.slice_update(arrays[index], (0, place, 0), compute(arrays)[index])
            arrays = (*arrays[:index], written, *arrays[index + 1 :])
        return arrays


def _order(length, reverse):
    """The index of the t-th step to be computed."""
    return lambda t: length - 1 - t if reverse else t


def _join(first, second):
    return ops.concatenate([first, second], axis=1)


def _as_row(state):
    return tuple(component[:, None] for component in state)
