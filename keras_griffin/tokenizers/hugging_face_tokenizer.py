"""Hugging Face tokenizers."""

import contextlib
import functools
import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import keras

from keras_griffin.checks import Rule, checked, is_integer
from keras_griffin.files.json_object import read_json_object
from keras_griffin.tokenizers.checks import MOST_TOKENS, check_characters, check_id, naming
from keras_griffin.tokenizers.file_tokenizer import FileTokenizer, import_package
from keras_griffin.tokenizers.special_tokens import PAD_NAMES, START_NAMES, STOP_NAMES, TURN_MARKS

#: The name of a token for a single byte, in vocabularies of characters.
_BYTE_NAME = re.compile("<0x([0-9A-Fa-f]{2})>")
#: A text that must decode the same token by token.
_SAMPLE = "The cat, it's said, sat on 3 mats. So did a dog! É 本 😀"


@keras.saving.register_keras_serializable("keras_griffin")
class HuggingFaceTokenizer(FileTokenizer):
    """A tokenizer of the packages `tokenizers` or `transformers`.

    A text begins with the start token, if there is one. Special tokens in a text become their ids, as always with these
    packages; so check untrusted text for them.

    Args:
        tokenizer: a `tokenizers.Tokenizer`, the path of a `tokenizer.json`, or a fast tokenizer of `transformers`, of
            which a copy is stored. Or any object with the methods `encode`, `decode` and `get_vocab` of both packages,
            and either package's conversions between ids and names; such an object is not copied, and can be neither
            saved nor compared.
        start_id: the id before every text, or None; "by name" looks for `<bos>`, `<s>` and `<|begin_of_text|>`.
        stop_ids: the ids at which a text ends; "by name" takes all of `<eos>`, `</s>`, `<end_of_turn>` and similar
            names that exist.
        pad_id: "by name" looks for `<pad>` and similar names, and falls back to 0.

    Raises:
        ImportError: `tokenizers`, which the extra `tokenizers` installs, is missing, and a path is given.
        ValueError: the file is not a tokenizer; it has no ids or one of 2^20 or more; a special id is not one of them;
            or decoding a text token by token does not give the same text.

    Examples:
        >>> from keras_griffin.tokenizers import HuggingFaceTokenizer
        >>> from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        >>> letters = Tokenizer(models.BPE({letter: id for id, letter in enumerate("abcĠ")}, []))
        >>> letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
        >>> tokenizer = HuggingFaceTokenizer(letters)
        >>> tokenizer.decode(tokenizer.encode("a cab"))
        'a cab'
    """

    file_name = "tokenizer.json"
    ids_file_name = "special_ids.json"
    more_files = (ids_file_name,)
    package = "tokenizers"

    def __init__(
        self,
        tokenizer: Any,
        *,
        start_id: int | None | Literal["by name"] = "by name",
        stop_ids: tuple[int, ...] | Literal["by name"] = "by name",
        pad_id: int | Literal["by name"] = "by name",
    ):
        is_file = isinstance(tokenizer, str | os.PathLike)
        with naming(tokenizer) if is_file else contextlib.nullcontext():
            if is_file:
                tokenizer = _parse(Path(tokenizer).read_bytes())
            tokenizer = getattr(tokenizer, "backend_tokenizer", tokenizer)
            # Before it is copied, which takes time for every id up to the largest.
            self.vocabulary_size = _vocabulary_size(tokenizer)
            self._tokenizer = _copy(tokenizer)
            self._named_ids = frozenset(self._ids_of(START_NAMES + STOP_NAMES + PAD_NAMES + TURN_MARKS))
            self._known_bytes: dict[tuple[int, bool], bytes] = {}
            self._check_that_it_is_understood()
        self._set_special_ids(start_id=start_id, stop_ids=stop_ids, pad_id=pad_id)

    def encode(self, text: str, *, start: bool = True) -> list[int]:
        """The start token, if there is one and `start` is not False, and the text's ids.

        Raises:
            ValueError: the text has a surrogate, which is not a character; or the tokenizer has no token for a part of
                it.
        """
        check_characters(text)
        ids = [] if self.start_id is None or not start else [self.start_id]
        return ids + self._ids_of_text(text)

    def token_bytes(self, token_id: int, is_first: bool = False) -> bytes:
        """The bytes of a token."""
        check_id(token_id, self.vocabulary_size)
        key = (token_id, is_first)
        if key not in self._known_bytes:
            self._known_bytes[key] = self._find_bytes(*key)
        return self._known_bytes[key]

    def contents(self) -> dict[str, bytes]:
        """`tokenizer.json`, and `special_ids.json` with the special ids, which it lacks.

        Raises:
            ValueError: the tokenizer can't be serialised as JSON.
        """
        return {self.file_name: self._json.encode(), self.ids_file_name: json.dumps(self._ids()).encode() + b"\n"}

    @classmethod
    def load(cls, directory: str | os.PathLike) -> "HuggingFaceTokenizer":
        """The tokenizer of a folder's `tokenizer.json`; without `special_ids.json`, special ids are found by name.

        Raises:
            ValueError: a file is damaged, or the files don't fit each other.
        """
        tokenizer, ids = cls(Path(directory) / cls.file_name), Path(directory) / cls.ids_file_name
        if ids.is_file():
            given = read_json_object("HuggingFaceTokenizer", ids)
            with naming(ids):
                tokenizer._set_special_ids(**_checked_names(given))
        return tokenizer

    def get_config(self) -> dict:
        """The tokenizer's JSON, and the special ids.

        Raises:
            ValueError: the tokenizer can't be serialised as JSON.
        """
        return {"json": self._json, **self._ids()}

    @classmethod
    def from_config(cls, config: dict) -> "HuggingFaceTokenizer":
        """The inverse of `get_config`."""
        ids = {key: value for key, value in config.items() if key != "json"}
        return cls(_parse(config.get("json")), **_checked_names(ids))

    @functools.cached_property
    def _json(self) -> str:
        if not hasattr(self._tokenizer, "to_str"):
            raise ValueError(
                "HuggingFaceTokenizer: only a tokenizer of the package tokenizers can be saved. "
                f"Got {type(self._tokenizer).__name__}."
            )
        return self._tokenizer.to_str()

    def _set_special_ids(self, *, start_id="by name", stop_ids="by name", pad_id="by name"):
        start_id = next(iter(self._ids_of(START_NAMES)), None) if start_id == "by name" else start_id
        stop_ids = self._ids_of(STOP_NAMES) if stop_ids == "by name" else stop_ids
        pad_id = next(iter(self._ids_of(PAD_NAMES)), 0) if pad_id == "by name" else pad_id
        ids, size = f"from 0 to {self.vocabulary_size - 1}", self.vocabulary_size
        an_id = Rule(f"an id {ids}", lambda value: is_integer(value) and 0 <= value < size)
        some_ids = Rule(
            f"a list or tuple of ids {ids}",
            lambda value: isinstance(value, list | tuple) and all(map(an_id.holds, value)),
        )
        self.start_id = checked("HuggingFaceTokenizer", an_id.or_none(), start_id=start_id)
        self.stop_ids = tuple(checked("HuggingFaceTokenizer", some_ids, stop_ids=stop_ids))
        self.pad_id = checked("HuggingFaceTokenizer", an_id, pad_id=pad_id)

    def _ids_of_text(self, text) -> list[int]:
        with _NamingTheRule("encode: the tokenizer must have a token for every part of the text"):
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return list(getattr(encoding, "ids", encoding))

    def _ids(self) -> dict:
        return {"start_id": self.start_id, "stop_ids": list(self.stop_ids), "pad_id": self.pad_id}

    def _ids_of(self, names) -> list[int]:
        """The ids of those names that are in the vocabulary."""
        to_id = _method(self._tokenizer, "token_to_id", "convert_tokens_to_ids")
        ids = {name: to_id(name) for name in names}
        # Some return the id of the unknown token for a name that they lack.
        return [id for name, id in ids.items() if id is not None and self._name(id) == name]

    def _name(self, token_id) -> str | None:
        return _method(self._tokenizer, "id_to_token", "convert_ids_to_tokens")(token_id)

    def _text(self, *token_ids) -> str:
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=True)

    @functools.cached_property
    def _before(self) -> tuple[list[int], str]:
        """A token to decode before another one, so that that is not the first; and its text."""
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
        # In byte-level vocabularies, a token may be a part of a character.
        if "\ufffd" in text and set(name) <= _byte_letters().keys():
            return bytes(_byte_letters()[letter] for letter in name)
        return text.encode()

    def _check_that_it_is_understood(self):
        ids = self._ids_of_text(_SAMPLE)
        said, understood = self._text(*ids), self.decode(ids)
        if said != understood:
            raise ValueError(
                "HuggingFaceTokenizer: decoding token by token must give the same text. "
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


def _parse(text: Any):
    tokenizers = import_package("HuggingFaceTokenizer", "tokenizers")
    rule = "HuggingFaceTokenizer: the file must be a tokenizer of the package tokenizers, in JSON"
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise ValueError(f"{rule}. Got {error}.") from error
    if not isinstance(text, str):
        raise ValueError(f"{rule}. Got {text!r}.")
    with _NamingTheRule(rule):
        return tokenizers.Tokenizer.from_str(text)


class _NamingTheRule:
    """Inside the `with` block, an error of the package `tokenizers` breaks a rule."""

    def __init__(self, rule: str):
        self._rule = rule

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        # It raises plain `Exception`s, and those of a panic of Rust, whose class can't be imported.
        if kind is Exception or getattr(kind, "__name__", None) == "PanicException":
            raise ValueError(f"{self._rule}. Got {str(error).strip()}.") from error


def _checked_names(special_ids: dict) -> dict:
    names = ("start_id", "stop_ids", "pad_id")
    if not set(special_ids) <= set(names):
        raise ValueError(
            f"HuggingFaceTokenizer: the special ids must be {', '.join(names)}. Got {', '.join(special_ids)}."
        )
    return special_ids


def _copy(tokenizer):
    """An independent copy without truncation and padding; or the object itself, if it is of neither package."""
    # A tokenizer of `transformers` wraps one of `tokenizers`, and sets its truncation and padding at each call.
    if hasattr(tokenizer, "to_str"):
        with _NamingTheRule("HuggingFaceTokenizer: a tokenizer must be the same after it is saved"):
            tokenizer = type(tokenizer).from_str(tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return tokenizer


def _vocabulary_size(tokenizer) -> int:
    """One more than the last id: some ids may have no token."""
    size = max(tokenizer.get_vocab().values(), default=-1) + 1
    if not 1 <= size <= MOST_TOKENS:
        raise ValueError(
            f"HuggingFaceTokenizer: the ids must be below {MOST_TOKENS}, and at least one. "
            + (f"Got {size - 1}." if size else "Got none.")
        )
    return size


def _method(tokenizer, name, name_in_transformers):
    return getattr(tokenizer, name if hasattr(tokenizer, name) else name_in_transformers)


@functools.cache
def _byte_letters() -> dict[str, int]:
    """The byte of each letter in byte-level names: visible Latin-1 as itself, invisible bytes from 256 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {**{chr(byte): byte for byte in visible}, **{chr(256 + i): byte for i, byte in enumerate(hidden)}}
