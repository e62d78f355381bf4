"""Room in a state that grows, as that of global attention does.

A function compiled for one shape of the state serves many steps if the state has empty places before its first token:
each step then pushes one of them out. Which tensors grow is seen in the initial state: those without any step in it.
"""

import keras
from keras import ops

from keras_griffin.shapes import State, Tensor


def grows(initial_state: State) -> bool:
    """Whether any tensor of the state grows."""
    return any(_grows(leaf) for leaf in keras.tree.flatten(initial_state))


def with_room(state: State, initial_state: State, places: int) -> State:
    """The state with so many empty places more before its first token."""
    return keras.tree.map_structure(
        lambda leaf, initial: _after_zeros(leaf, places) if _grows(initial) else leaf, state, initial_state
    )


def without_room(state: State, initial_state: State, places: int) -> State:
    """The state without so many places before its first token."""
    return keras.tree.map_structure(
        lambda leaf, initial: leaf[:, places:] if _grows(initial) else leaf, state, initial_state
    )


def in_the_same_room(state: State, earlier: State) -> State:
    """The state without as many places as it has more than the earlier one; those must be empty."""
    return keras.tree.map_structure(
        lambda leaf, before: leaf[:, leaf.shape[1] - before.shape[1] :] if _is_longer(leaf, before) else leaf,
        state,
        earlier,
    )


def joined_rows(leaves: tuple[Tensor, ...]) -> Tensor:
    """The rows of several states' tensors; those that have grown less get empty places before their first token."""
    longest = max(leaf.shape[1] if len(leaf.shape) > 1 else 0 for leaf in leaves)
    leaves = [_after_zeros(x, longest - x.shape[1]) if longest and x.shape[1] < longest else x for x in leaves]
    return ops.concatenate(leaves, axis=0)


def _grows(initial_leaf):
    return len(initial_leaf.shape) > 1 and initial_leaf.shape[1] == 0


def _is_longer(leaf, before):
    return len(leaf.shape) > 1 and leaf.shape[1] > before.shape[1]


def _after_zeros(leaf, places):
    batch_size, _, *rest = leaf.shape
    return ops.concatenate([ops.zeros((batch_size, places, *rest), leaf.dtype), leaf], axis=1)
