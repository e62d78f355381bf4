"""A language model's state as a value."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin.checks import is_integer
from keras_griffin.generation.capacity import joined_rows, walk
from keras_griffin.ops.implementation import have_values
from keras_griffin.shapes import State, Tensor

#: From here on `tokens` stays as it is: int32 ends there.
MOST_TOKENS = 2**31 - 1


class LanguageModelState(NamedTuple):
    """All that a `LanguageModel` keeps of the texts in its rows: a value, which nothing changes.

    What goes on from a state gives another one and leaves it as it is, so an assignment is a fork. States are made by
    `model.initial_state`, `prefill`, `advance` and `generate`, and kept in files by `save_state` and `load_state`.

    Examples:
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> state = model.prefill([[1, 2, 3], [4]])
        >>> state
        LanguageModelState: 2 rows, 3 layers, 5,404 bytes; tokens seen: 3, 1
        >>> state.select([1]).repeat(4)
        LanguageModelState: 4 rows, 3 layers, 10,808 bytes; tokens seen: 1, 1, 1, 1
    """

    #: `(B,)` int32: the segment id of each row's newest document, 0 before the first token.
    segment: Tensor
    #: `(B,)` int32: how many tokens each row has seen; it stops at 2**31 - 1.
    tokens: Tensor
    #: `(B, D)`, compute dtype: what the last block gave for each row's newest token, from which the next logits follow.
    last: Tensor
    #: The state of each residual block, in order.
    blocks: tuple

    @property
    def num_rows(self) -> int:
        """B."""
        return self.segment.shape[0]

    @property
    def num_bytes(self) -> int:
        """The memory of all tensors."""
        return sum(
            int(np.prod(leaf.shape)) * np.dtype(keras.backend.standardize_dtype(leaf.dtype)).itemsize
            for leaf in keras.tree.flatten(self)
        )

    def select(self, rows: int | slice | Sequence | np.ndarray) -> "LanguageModelState":
        """Some rows, in the order and as often as they are named.

        Args:
            rows: what indexes a NumPy vector: a list of indices, a slice, booleans, or one index.

        Raises:
            ValueError: there is no such row.
        """
        try:
            indices = np.atleast_1d(np.arange(self.num_rows)[np.asarray(rows) if isinstance(rows, list) else rows])
        except IndexError as error:
            raise ValueError(f"select: rows must be among the {self.num_rows} of the state. Got {rows!r}.") from error
        if indices.ndim != 1:
            raise ValueError(f"select: rows must be what indexes a vector. Got {rows!r}.")
        return keras.tree.map_structure(lambda leaf: ops.take(leaf, indices.astype("int32"), axis=0), self)

    def repeat(self, times: int) -> "LanguageModelState":
        """Each row so many times, its copies next to each other.

        Raises:
            ValueError: `times` is no integer of at least 1.
        """
        if not is_integer(times) or times < 1:
            raise ValueError(f"repeat: times must be an integer of at least 1. Got {times!r}.")
        return self.select(np.repeat(np.arange(self.num_rows), times))

    def __repr__(self) -> str:
        head = f"{self.num_rows} rows, {len(self.blocks)} layers, {self.num_bytes:,} bytes"
        return f"{type(self).__name__}: {head}; tokens seen: {_tokens_seen(self.tokens)}"


def concatenate(states: Iterable[LanguageModelState]) -> LanguageModelState:
    """One state with the rows of several, in order.

    States that grow, as those of global attention do, may have grown differently.

    Args:
        states: of one model, at least one.

    Raises:
        ValueError: there is none, or they are not of one model.
    """
    states = list(states)
    if not states:
        raise ValueError("concatenate: there must be at least one state. Got none.")
    first = states[0]
    for state in states:
        if not isinstance(state, tuple):
            raise ValueError(f"concatenate: there must be states in a list. Got {state!r} in it.")
        reason = why_not_like(state, first)
        if reason is not None:
            raise ValueError(f"concatenate: the states must be of one model. Got one whose {reason}.")
    return joined_rows(states)


def why_not_like(state: State, other: State) -> str | None:
    """How a state differs from another one of the same model, apart from the number of rows and what has grown.

    Args:
        state: anything.
        other: a state, for its shapes alone.

    Returns:
        None, or words that follow "a state whose".
    """
    found, wanted = list(walk(state)), list(walk(other))
    if _kinds(state) != _kinds(other):
        return f"{len(found)} tensors are not the {len(wanted)} of this model's {type(other).__name__}, or other ones"
    for path, leaf, _ in found:
        if not hasattr(leaf, "shape"):
            return f"{'.'.join(path)} is no tensor but {leaf!r}"
    rows = {tuple(leaf.shape[:1]) for _, leaf, _ in found}
    if len(rows) != 1:
        return f"tensors have different numbers of rows, {', '.join(str(*shape) for shape in sorted(rows))}"
    for (path, leaf, grows), (_, like, _) in zip(found, wanted, strict=True):
        fixed = 2 if grows else 1
        own, expected = tuple(leaf.shape), tuple(like.shape)
        if len(own) != len(expected) or own[fixed:] != expected[fixed:]:
            return f"{'.'.join(path)} is of shape {own} and not {(own[:1] + expected[1:])}"
    return None


def fitted(function_name: str, state: State, initial_state: State) -> State:
    """A state in the dtypes of a model's initial state.

    Raises:
        ValueError: it is not a state of that model.
    """
    reason = why_not_like(state, initial_state)
    if reason is not None:
        raise ValueError(f"{function_name}: the state must be one of this model. Got one whose {reason}.")
    return keras.tree.map_structure(lambda leaf, like: ops.cast(leaf, like.dtype), state, initial_state)


def rows_for(state: State, function_name: str, token_ids) -> Tensor:
    """The tokens `(B, T)`, an array or a tensor, with which the rows of a state are to go on.

    Raises:
        ValueError: T is 0, B is not that of the state, or they have other axes.
    """
    shape = tuple(getattr(token_ids, "shape", ()))
    if len(shape) != 2 or shape[1] == 0:
        raise ValueError(f"{function_name}: token ids must be of shape (B, T), with T at least 1. Got shape {shape}.")
    num_rows = state.tokens.shape[0]
    if None not in (shape[0], num_rows) and shape[0] != num_rows:
        raise ValueError(
            f"{function_name}: the state must have one row for each row of the tokens. "
            f"Got a state of {num_rows} and tokens of {shape[0]}."
        )
    return token_ids


def _kinds(state):
    """The types of a state and all its parts."""
    return (type(state), *map(_kinds, state)) if isinstance(state, tuple) else None


def _tokens_seen(tokens) -> str:
    if not have_values([tokens]):
        return "not known while compiling"
    counts = [f"{count:,}" for count in ops.convert_to_numpy(tokens)]
    return ", ".join(counts if len(counts) <= 8 else [*counts[:7], f"... {counts[-1]}"])
