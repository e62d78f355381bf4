"""Bytes as tokens."""

import json
import os
from pathlib import Path

import keras

from keras_griffin.files.json_object import read_json_object
from keras_griffin.tokenizers.checks import check_id
from keras_griffin.tokenizers.file_tokenizer import FileTokenizer

_CONTENT = {"tokenizer": "bytes"}


@keras.saving.register_keras_serializable("keras_griffin")
class ByteTokenizer(FileTokenizer):
    """Text as its UTF-8 bytes: 256 ids, none of them special.

    Bytes escaped as surrogates, such as command-line bytes that are not UTF-8, are encoded as the original bytes. The
    file `byte_tokenizer.json`, which `save` writes, only identifies this tokenizer.

    Examples:
        >>> from keras_griffin.tokenizers import ByteTokenizer
        >>> tokenizer = ByteTokenizer()
        >>> tokenizer.encode("né")
        [110, 195, 169]
        >>> tokenizer.decode([110, 195, 169])
        'né'
    """

    file_name = "byte_tokenizer.json"
    vocabulary_size = 256
    #: A line break, from which a model of bytes starts if it has no prompt.
    start_id = 10
    stop_ids: tuple[int, ...] = ()
    pad_id = 0

    def encode(self, text: str, *, start: bool = True) -> list[int]:
        """The text's bytes; models of bytes have no start token, whatever `start` is.

        Raises:
            ValueError: the text has half a surrogate pair, which is not a byte.
        """
        try:
            return list(text.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError as error:
            raise ValueError(
                "encode: the text must be characters, or surrogates that escape bytes. "
                f"Got {text[error.start]!r} at {error.start}."
            ) from error

    def token_bytes(self, token_id: int, is_first: bool = False) -> bytes:
        """The byte itself."""
        check_id(token_id, self.vocabulary_size)
        return bytes([token_id])

    def contents(self) -> dict[str, bytes]:
        """`byte_tokenizer.json`."""
        return {self.file_name: json.dumps(_CONTENT).encode() + b"\n"}

    @classmethod
    def load(cls, directory: str | os.PathLike) -> "ByteTokenizer":
        """The tokenizer of a folder's `byte_tokenizer.json`.

        Raises:
            ValueError: the file has other contents.
        """
        path = Path(directory) / cls.file_name
        content = read_json_object("ByteTokenizer", path)
        if content != _CONTENT:
            raise ValueError(f"ByteTokenizer: {path.name} must hold {_CONTENT}. Got {content!r} in {str(path)!r}.")
        return cls()

    def get_config(self) -> dict:
        """An empty config: all instances are equal."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "ByteTokenizer":
        """The inverse of `get_config`."""
        if config != {}:
            raise ValueError(f"ByteTokenizer: its config must be empty. Got {config!r}.")
        return cls()

    def __eq__(self, other):
        return type(other) is type(self)

    def __hash__(self):
        return hash(type(self))

    def __repr__(self):
        return "ByteTokenizer()"
