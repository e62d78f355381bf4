"""Hugging Face's tokenizers."""

import functools
import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import keras

from keras_griffin.files import atomic_file
from keras_griffin.shapes import Tensor
from keras_griffin.tokenizers.checks import check_characters, check_id
from keras_griffin.tokenizers.incremental_decoder import decode
from keras_griffin.tokenizers.special_tokens import PAD_NAMES, START_NAMES, STOP_NAMES, TURN_MARKS

#: The name of a token that stands for one byte, where most tokens stand for characters.
_BYTE_NAME = re.compile("<0x([0-9A-Fa-f]{2})>")
#: What a tokenizer must write as it is, token by token, to be understood.
_SAMPLE = "The cat, it's said, sat on 3 mats. So did a dog! É 本 😀"


@keras.saving.register_keras_serializable("keras_griffin")
class HuggingFaceTokenizer:
    """A tokenizer of the packages `tokenizers` or `transformers`.

    A text begins with the start token, if there is one. Special tokens in a text become their ids, as always with these
    packages; so a text from strangers must not hold them.

    Args:
        tokenizer: a `tokenizers.Tokenizer`, the path of a `tokenizer.json`, or a fast tokenizer of `transformers`; what
            is kept is a copy. Or any object with the methods `encode`, `decode` and `get_vocab` of both packages, and
            those of either between ids and names; it is kept itself, and can be neither saved nor compared.
        start_id: the id before every text, or None; "by name" looks for `<bos>`, `<s>` and `<|begin_of_text|>`.
        stop_ids: the ids at which a text ends; "by name" takes all there are of `<eos>`, `</s>`, `<end_of_turn>` and
            their like.
        pad_id: "by name" looks for `<pad>` and its like, and is 0 without.

    Raises:
        ImportError: `tokenizers`, which the extra `tokenizers` brings, is not installed, and a path is given.
        ValueError: what the tokenizer writes is not what its tokens write one after another.

    Examples:
        >>> from keras_griffin.tokenizers import HuggingFaceTokenizer
        >>> from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        >>> letters = Tokenizer(models.BPE({letter: id for id, letter in enumerate("abcĠ")}, []))
        >>> letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
        >>> tokenizer = HuggingFaceTokenizer(letters)
        >>> tokenizer.decode(tokenizer.encode("a cab"))
        'a cab'
    """

    #: The files that `save` writes.
    file_name = "tokenizer.json"
    ids_file_name = "special_ids.json"

    def __init__(
        self,
        tokenizer: Any,
        *,
        start_id: int | None | Literal["by name"] = "by name",
        stop_ids: tuple[int, ...] | Literal["by name"] = "by name",
        pad_id: int | Literal["by name"] = "by name",
    ):
        if isinstance(tokenizer, str | os.PathLike):
            tokenizer = _parse(Path(tokenizer).read_text(encoding="utf-8"))
        self._tokenizer = _copy(tokenizer)
        self.vocabulary_size = _vocabulary_size(self._tokenizer)
        self.start_id = next(iter(self._ids_of(START_NAMES)), None) if start_id == "by name" else start_id
        self.stop_ids = tuple(self._ids_of(STOP_NAMES) if stop_ids == "by name" else stop_ids)
        self.pad_id = next(iter(self._ids_of(PAD_NAMES)), 0) if pad_id == "by name" else pad_id
        self._named_ids = frozenset(self._ids_of(START_NAMES + STOP_NAMES + PAD_NAMES + TURN_MARKS))
        self._known_bytes: dict[tuple[int, bool], bytes] = {}
        self._check_that_it_is_understood()

    def encode(self, text: str, *, start: bool = True) -> list[int]:
        """The start token, if there is one and `start` is not False, and the text's ids.

        Raises:
            ValueError: the text holds a surrogate, which is no character.
        """
        check_characters(text)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids = [] if self.start_id is None or not start else [self.start_id]
        return ids + list(getattr(encoding, "ids", encoding))

    def decode(self, token_ids: Tensor) -> str:
        """The text of `(T,)` ids, without special tokens."""
        return decode(self, token_ids)

    def token_bytes(self, token_id: int, is_first: bool = False) -> bytes:
        """What a token writes."""
        check_id(token_id, self.vocabulary_size)
        key = (token_id, is_first)
        if key not in self._known_bytes:
            self._known_bytes[key] = self._find_bytes(*key)
        return self._known_bytes[key]

    def save(self, directory: str | os.PathLike) -> None:
        """Write `tokenizer.json`, and `special_ids.json` with the ids that stand in no such file.

        Raises:
            ValueError: the tokenizer has no JSON.
        """
        files = {self.file_name: self._json, self.ids_file_name: json.dumps(self._ids()) + "\n"}
        Path(directory).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with atomic_file(Path(directory) / name) as path:
                path.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: str | os.PathLike) -> "HuggingFaceTokenizer":
        """The tokenizer of a folder's `tokenizer.json`; the ids are found by name where `special_ids.json` is not."""
        ids = Path(directory) / cls.ids_file_name
        return cls(Path(directory) / cls.file_name, **(json.loads(ids.read_text()) if ids.is_file() else {}))

    def get_config(self) -> dict:
        """The tokenizer's JSON, and the ids.

        Raises:
            ValueError: the tokenizer has no JSON.
        """
        return {"json": self._json, **self._ids()}

    @classmethod
    def from_config(cls, config: dict) -> "HuggingFaceTokenizer":
        """The inverse of `get_config`."""
        return cls(_parse(config["json"]), **{key: value for key, value in config.items() if key != "json"})

    @functools.cached_property
    def _json(self) -> str:
        if not hasattr(self._tokenizer, "to_str"):
            raise ValueError(
                "HuggingFaceTokenizer: to be saved, a tokenizer must be one of the package tokenizers. "
                f"Got {type(self._tokenizer).__name__}."
            )
        return self._tokenizer.to_str()

    def _ids(self) -> dict:
        return {"start_id": self.start_id, "stop_ids": list(self.stop_ids), "pad_id": self.pad_id}

    def _ids_of(self, names) -> list[int]:
        """The ids of those names that are in the vocabulary."""
        to_id = _method(self._tokenizer, "token_to_id", "convert_tokens_to_ids")
        ids = {name: to_id(name) for name in names}
        # Some give the id of the unknown token for a name that they lack.
        return [id for name, id in ids.items() if id is not None and self._name(id) == name]

    def _name(self, token_id) -> str | None:
        return _method(self._tokenizer, "id_to_token", "convert_ids_to_tokens")(token_id)

    def _text(self, *token_ids) -> str:
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=True)

    @functools.cached_property
    def _before(self) -> tuple[list[int], str]:
        """A token to put before another, which is then not the first, and its text."""
        for token_id in range(self.vocabulary_size):
            text = self._text(token_id)
            if text.isascii() and text.isalnum():
                return [token_id], text
        return [], ""

    def _find_bytes(self, token_id, is_first) -> bytes:
        name = self._name(token_id)
        if name is None or token_id in self._named_ids:
            return b""
        byte = _BYTE_NAME.fullmatch(name)
        if byte and self._text(token_id) != name:
            return bytes([int(byte[1], 16)])
        before, text_before = ([], "") if is_first else self._before
        text = self._text(*before, token_id).removeprefix(text_before)
        # Where all names are of letters that stand for bytes, a token may write a part of a character.
        if "\ufffd" in text and set(name) <= _byte_letters().keys():
            return bytes(_byte_letters()[letter] for letter in name)
        return text.encode()

    def _check_that_it_is_understood(self):
        ids = self.encode(_SAMPLE, start=False)
        said, understood = self._text(*ids), self.decode(ids)
        if said != understood:
            raise ValueError(
                "HuggingFaceTokenizer: a text must be what its tokens write one after another. "
                f"Got {said!r}, and {understood!r} token by token."
            )

    def __eq__(self, other):
        if type(other) is not type(self) or not hasattr(self._tokenizer, "to_str"):
            return self is other
        return hasattr(other._tokenizer, "to_str") and other.get_config() == self.get_config()

    def __hash__(self):
        return hash((self.vocabulary_size, self.start_id, self.stop_ids, self.pad_id))

    def __repr__(self):
        return f"HuggingFaceTokenizer({self.vocabulary_size} tokens)"


def _parse(text: str):
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportError(
            "HuggingFaceTokenizer: the package tokenizers must be installed, "
            "for instance with pip install 'keras-griffin[tokenizers]'."
        ) from error
    return Tokenizer.from_str(text)


def _copy(tokenizer):
    """A copy that nobody else changes, which cuts and fills nothing up; or the object itself, if it is of no package.

    A tokenizer of `transformers` keeps one of `tokenizers`, and sets there, at each call, what is cut and filled up.
    """
    tokenizer = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(tokenizer, "to_str"):
        tokenizer = type(tokenizer).from_str(tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return tokenizer


def _vocabulary_size(tokenizer) -> int:
    """One more than the last id: some ids may have no token."""
    return max(tokenizer.get_vocab().values()) + 1


def _method(tokenizer, name, name_in_transformers):
    return getattr(tokenizer, name if hasattr(tokenizer, name) else name_in_transformers)


@functools.cache
def _byte_letters() -> dict[str, int]:
    """The byte that each letter of byte-level names stands for: Latin-1 by itself, what can't be seen from 256 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {**{chr(byte): byte for byte in visible}, **{chr(256 + i): byte for i, byte in enumerate(hidden)}}
