"""States that were kept, by the tokens before them."""

import collections
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_griffin.generation.state import LanguageModelState


class KeptStates:
    """States of one row by a hash of all tokens that they have read; the least recently used leave first.

    Args:
        most_bytes: of all states together.
    """

    def __init__(self, most_bytes: int):
        self.most_bytes = most_bytes
        self.num_bytes = 0
        self._states: collections.OrderedDict[tuple[int, bytes], LanguageModelState] = collections.OrderedDict()
        #: How many states there are by their number of tokens.
        self._lengths: collections.Counter[int] = collections.Counter()

    def __len__(self) -> int:
        return len(self._states)

    def longest(self, token_ids: np.ndarray) -> tuple[int, LanguageModelState | None]:
        """Of the states kept for a prefix, that of the longest, and how many tokens it has read."""
        lengths = sorted(length for length in self._lengths if length <= len(token_ids))
        for key in reversed([*keys(token_ids, lengths)]):
            if key in self._states:
                self._states.move_to_end(key)
                return key[0], self._states[key]
        return 0, None

    def keep(self, key: tuple[int, bytes], state: LanguageModelState) -> None:
        """Keep a state, unless it is larger than all may be together."""
        size = state.num_bytes
        if key in self._states:
            self._states.move_to_end(key)
        if key in self._states or size > self.most_bytes:
            return
        while self.num_bytes + size > self.most_bytes:
            (length, _), oldest = self._states.popitem(last=False)
            self._lengths[length] -= 1
            self._lengths += collections.Counter()
            self.num_bytes -= oldest.num_bytes
        self._states[key] = state
        self._lengths[key[0]] += 1
        self.num_bytes += size


def keys(token_ids: np.ndarray, lengths: Any) -> Iterator[tuple[int, bytes]]:
    """The key of each prefix of these ascending lengths."""
    hashed, start = hashlib.blake2b(digest_size=16), 0
    for length in lengths:
        hashed.update(np.ascontiguousarray(token_ids[start:length], "int32").tobytes())
        start = length
        yield length, hashed.digest()
