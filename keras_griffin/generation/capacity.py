"""The capacity of a state that grows, such as that of global attention: its empty places.

A function compiled for one shape of the state serves many steps if the state has empty places before its first token: a
single step writes to one of them, and several steps push as many out.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import keras
from keras import ops

from keras_griffin.ops.shared.padding import padded_steps
from keras_griffin.shapes import State, Tensor


@runtime_checkable
class GrowingState(Protocol):
    """A state, or a part of one, whose tensors' second axis grows with the stream."""

    def with_room(self, places: int) -> State:
        """The state with `places` more empty places before its first token."""

    def without_room(self, places: int) -> State:
        """The state without its first `places` places, which must be empty."""


def walk(
    state: State, path: tuple[str, ...] = (), grows: bool = False
) -> Iterator[tuple[tuple[str, ...], Tensor, bool]]:
    """Each tensor of a state: its path, itself, and whether its second axis grows with the stream."""
    if not isinstance(state, tuple):
        yield path, state, grows
        return
    for name, part in zip(getattr(state, "_fields", range(len(state))), state, strict=True):
        yield from walk(part, (*path, str(name)), isinstance(state, GrowingState))


def grows(state: State) -> bool:
    """Whether any tensor of the state grows."""
    return any(leaf_grows for _, _, leaf_grows in walk(state))


def with_capacity(state: State, places: int) -> State:
    """The state with `places` more empty places before its first token."""
    return _in_growing_parts(lambda part: part.with_room(places), state)


def without_capacity(state: State, places: int) -> State:
    """The state without its first `places` places, which must be empty."""
    return _in_growing_parts(lambda part: part.without_room(places), state)


def at_the_same_capacity(state: State, earlier: State) -> State:
    """The state reduced to the capacity of an earlier one; the dropped places must be empty."""
    return _where_it_grows(lambda leaf, before: leaf[:, leaf.shape[1] - before.shape[1] :], state, earlier)


def joined_rows(states: list[State]) -> State:
    """The rows of several states; those that have grown less get empty places before the first token."""

    def joined(*leaves):
        longest = max(leaf.shape[1] for leaf in leaves)
        return ops.concatenate([padded_steps(leaf, longest - leaf.shape[1]) for leaf in leaves], axis=0)

    return _where_it_grows(joined, *states, elsewhere=lambda *leaves: ops.concatenate(leaves, axis=0))


def _in_growing_parts(function, state):
    """Apply `function` to the parts of a state that grow."""
    if isinstance(state, GrowingState):
        return function(state)
    if not isinstance(state, tuple):
        return state
    parts = [_in_growing_parts(function, part) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)


def _where_it_grows(function, state, *others, elsewhere=lambda leaf, *_: leaf):
    """Apply `function` to the tensors of the states that grow, and `elsewhere` to the others."""
    growing = [leaf_grows for _, _, leaf_grows in walk(state)]
    leaves = zip(growing, *map(keras.tree.flatten, (state, *others)), strict=True)
    made = [(function if leaf_grows else elsewhere)(*tensors) for leaf_grows, *tensors in leaves]
    return keras.tree.pack_sequence_as(state, made)
