"""Rows of a state that come and go."""

import numpy as np

from keras_griffin.generation.capacity import grows, walk, with_capacity, without_capacity
from keras_griffin.generation.state import LanguageModelState, concatenate


def capacity(state: LanguageModelState) -> int:
    """How many tokens a state that grows has room for; 0 for one of constant size."""
    return max((leaf.shape[1] for _, leaf, grows in walk(state) if grows), default=0)


def joined(states: list[LanguageModelState], count: int) -> LanguageModelState:
    """The rows of several states, and copies of the last one up to `count` rows.

    Copies, because the compiled functions donate their state.
    """
    state = states[0] if len(states) == 1 else concatenate(states)
    return state.select(np.minimum(np.arange(count), state.num_rows - 1))


def trimmed(state: LanguageModelState, seen: int) -> LanguageModelState:
    """The state without the places that no row has filled, of which the longest has seen that many tokens."""
    return without_capacity(state, capacity(state) - seen) if grows(state) else state


def with_places(state: LanguageModelState, seen: int, steps: int) -> LanguageModelState:
    """The state with room for so many steps more."""
    room = capacity(state)
    if not grows(state) or room >= seen + steps:
        return state
    # Powers of two, so that a function compiled for one size serves others.
    return with_capacity(state, max(64, 1 << (seen + steps - 1).bit_length()) - room)
