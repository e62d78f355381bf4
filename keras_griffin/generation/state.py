"""A language model's state as a value."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin.checks import COUNT, checked
from keras_griffin.generation.capacity import joined_rows, walk
from keras_griffin.ops.implementation import have_values
from keras_griffin.shapes import State, Tensor

#: The largest int32, where the count in `tokens` saturates.
MOST_TOKENS = 2**31 - 1


class LanguageModelState(NamedTuple):
    """All that a `LanguageModel` remembers of the texts in its rows, as an immutable value.

    Continuing from a state returns a new one and leaves the old one unchanged, so an assignment is a fork. States come
    from `model.initial_state`, `prefill`, `advance` and `generate`; `save_state` and `load_state` store them in files.

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
    #: `(B,)` int32: how many tokens each row has seen, at most 2**31 - 1.
    tokens: Tensor
    #: `(B, D)`, compute dtype: the last block's output for each row's newest token, which gives the next logits.
    last: Tensor
    #: The state of each residual block, in order.
    blocks: tuple

    @property
    def num_rows(self) -> int:
        """The number of rows, B."""
        return self.segment.shape[0]

    @property
    def num_bytes(self) -> int:
        """The size of all tensors in bytes."""
        return sum(
            int(np.prod(leaf.shape)) * np.dtype(keras.backend.standardize_dtype(leaf.dtype)).itemsize
            for leaf in keras.tree.flatten(self)
        )

    def select(self, rows: int | slice | Sequence | np.ndarray) -> "LanguageModelState":
        """Some rows, in the given order; a row may occur more than once.

        Args:
            rows: an index of a NumPy vector: a list of indices, a slice, booleans, or one index.

        Raises:
            ValueError: there is no such row.
        """
        try:
            indices = np.atleast_1d(np.arange(self.num_rows)[np.asarray(rows) if isinstance(rows, list) else rows])
        except IndexError as error:
            raise ValueError(f"select: rows must be among the {self.num_rows} of the state. Got {rows!r}.") from error
        if indices.ndim != 1:
            raise ValueError(f"select: rows must be an index of a vector. Got {rows!r}.")
        return keras.tree.map_structure(lambda leaf: ops.take(leaf, indices.astype("int32"), axis=0), self)

    def repeat(self, times: int) -> "LanguageModelState":
        """Each row `times` times, its copies next to each other.

        Raises:
            ValueError: `times` is not an integer of at least 1.
        """
        checked("repeat", COUNT, times=times)
        return self.select(np.repeat(np.arange(self.num_rows), times))

    def __repr__(self) -> str:
        seen = "not known while compiling"
        if have_values([self.tokens]):
            counts = [f"{count:,}" for count in ops.convert_to_numpy(self.tokens)]
            seen = ", ".join(counts if len(counts) <= 8 else [*counts[:7], f"... {counts[-1]}"])
        head = f"{self.num_rows} rows, {len(self.blocks)} layers, {self.num_bytes:,} bytes"
        return f"{type(self).__name__}: {head}; tokens seen: {seen}"


def concatenate(states: Iterable[LanguageModelState]) -> LanguageModelState:
    """One state with the rows of several, in order.

    States that grow, such as those of global attention, may have different sizes.

    Args:
        states: of one model, at least one.

    Raises:
        ValueError: there is no state, or they are not of one model.
    """
    states = list(states)
    if not states:
        raise ValueError("concatenate: there must be at least one state. Got none.")
    first = states[0]
    for state in states:
        if not isinstance(state, tuple):
            raise ValueError(f"concatenate: every element must be a state. Got {state!r}.")
        reason = why_not_like(state, first)
        if reason is not None:
            raise ValueError(f"concatenate: the states must be of one model. Got one whose {reason}.")
    return joined_rows(states)


def why_not_like(state: State, other: State) -> str | None:
    """Why two states can't be of one model, as a text that follows "a state whose"; None if they can."""
    found, wanted = list(walk(state)), list(walk(other))
    if _kinds(state) != _kinds(other):
        return f"{len(found)} tensors do not match the {len(wanted)} of this model's {type(other).__name__}"
    for path, leaf, _ in found:
        if not hasattr(leaf, "shape"):
            return f"{'.'.join(path)} is not a tensor but {leaf!r}"
    # A list: a size that is free in a program that PyTorch exports has no hash.
    shapes = [tuple(leaf.shape[:1]) for _, leaf, _ in found]
    if any(shape != shapes[0] for shape in shapes):
        rows = ", ".join(str(*shape) for shape in sorted(set(shapes)))
        return f"tensors have different numbers of rows, {rows}"
    for (path, leaf, grows), (_, like, _) in zip(found, wanted, strict=True):
        fixed = 2 if grows else 1
        own, expected = tuple(leaf.shape), tuple(like.shape)
        if len(own) != len(expected) or own[fixed:] != expected[fixed:]:
            return f"{'.'.join(path)} has shape {own} instead of {(own[:1] + expected[1:])}"
    return None


def fitted(function_name: str, state: State, initial_state: State) -> State:
    """A state of the model with that initial state, cast to its dtypes."""
    reason = why_not_like(state, initial_state)
    if reason is not None:
        raise ValueError(f"{function_name}: the state must be one of this model. Got one whose {reason}.")
    return keras.tree.map_structure(lambda leaf, like: ops.cast(leaf, like.dtype), state, initial_state)


def rows_for(state: State, function_name: str, token_ids) -> Tensor:
    """Check the tokens `(B, T)`, an array or a tensor, that continue the rows of a state."""
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
