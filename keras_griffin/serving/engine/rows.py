"""Rows of a state that come and go."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_griffin.generation.capacity import grows, joined_rows, walk, with_capacity, without_capacity
from keras_griffin.generation.state import LanguageModelState
from keras_griffin.ops.shared.padding import power_of_two


def capacity(state: LanguageModelState) -> int:
    """How many tokens a state that grows has room for; 0 for one of constant size."""
    return max((leaf.shape[1] for _, leaf, grows in walk(state) if grows), default=0)


class Rows:
    """What is done with the rows of a model's states.

    The compiled functions donate their state, so what is to stay is a copy.
    """

    def __init__(self, prepare: Callable, initial_state: LanguageModelState):
        self._prepare = prepare
        self._grows = grows(initial_state)

    def joined(self, states: list[LanguageModelState], count: int) -> LanguageModelState:
        """States of one row as one, with copies of the last up to `count` rows."""
        if count == 1:
            return states[0].select([0])
        # Not `concatenate`, which compares each with the first. The rows are filled before: JAX compiles each number.
        return joined_rows([*states, *states[-1:] * (count - len(states))])

    def chosen(self, parts: list[LanguageModelState], places: list[int], seen: int) -> LanguageModelState:
        """Rows of some states, numbered on from the first to the last, with room for a step after so many tokens."""
        parts = [self.with_places(part, seen, 1) for part in parts]
        state = (joined_rows(parts) if len(parts) > 1 else parts[0]).select(places)
        if self._grows and capacity(state) >= 4 * _places(seen + 1):
            state = self.with_places(self.trimmed(state, seen), seen, 1)
        return state

    def taken(self, state: LanguageModelState, place: int, seen: int) -> tuple[LanguageModelState, LanguageModelState]:
        """The state, which is donated, and one of its rows, which has seen that many tokens."""
        state, alone = self._prepare(_taken)(state, np.array([place], "int32"))
        # A copy, where a view would keep the places alive.
        return state, self.trimmed(alone, seen).select([0]) if self._grows else alone

    def trimmed(self, state: LanguageModelState, seen: int) -> LanguageModelState:
        """The state without the places that no row has filled, of which the longest has seen that many tokens."""
        return without_capacity(state, capacity(state) - seen) if self._grows else state

    def with_places(self, state: LanguageModelState, seen: int, steps: int) -> LanguageModelState:
        """The state with room for so many steps more."""
        if not self._grows or (room := capacity(state)) >= seen + steps:
            return state
        # Powers of two, so that a function compiled for one size serves others.
        return with_capacity(state, _places(seen + steps) - room)


def _places(steps):
    return max(64, power_of_two(steps))


def _taken(model, state, places):
    # Both, so that the state's buffers become those of the result.
    return state, keras.tree.map_structure(lambda leaf: ops.take(leaf, places, axis=0), state)
