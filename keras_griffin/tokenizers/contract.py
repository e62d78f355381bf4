"""The type of a tokenizer."""

import os
from typing import Protocol, runtime_checkable

from keras_griffin.shapes import Tensor


@runtime_checkable
class Tokenizer(Protocol):
    """Any object that satisfies the contract in `keras_griffin.tokenizers`, which explains each name."""

    @property
    def vocabulary_size(self) -> int: ...

    @property
    def start_id(self) -> int | None: ...

    @property
    def stop_ids(self) -> tuple[int, ...]: ...

    @property
    def pad_id(self) -> int: ...

    def encode(self, text: str, *, start: bool = True) -> list[int]: ...

    def decode(self, token_ids: Tensor) -> str: ...

    def token_bytes(self, token_id: int, is_first: bool = False) -> bytes: ...

    def save(self, directory: str | os.PathLike) -> None: ...
