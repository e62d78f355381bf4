"""SentencePiece models, such as Gemma's `tokenizer.model`."""

import base64
import os
import re
from pathlib import Path

import keras

from keras_griffin.tokenizers.checks import check_characters, check_id
from keras_griffin.tokenizers.file_tokenizer import FileTokenizer, import_package
from keras_griffin.tokenizers.special_tokens import END_OF_TURN, TURN_MARKS


@keras.saving.register_keras_serializable("keras_griffin")
class SentencePieceTokenizer(FileTokenizer):
    """A SentencePiece model; needs the package `sentencepiece`, which the extra `tokenizers` installs.

    Start, end and padding are the model's own: for Gemma `<bos>` 2, `<eos>` 1 and `<pad>` 0. Every text begins with the
    start token, if the model has one. `<start_of_turn>` and `<end_of_turn>` in a text become their ids if the model
    has them, as user-defined or control pieces; the names of other control pieces in a text are ordinary text.

    Args:
        proto: the model, as bytes or as the path of its file.

    Raises:
        ImportError: `sentencepiece` is not installed.
        ValueError: the bytes are not a SentencePiece model.

    Examples:
        >>> import io, sentencepiece
        >>> from keras_griffin.tokenizers import SentencePieceTokenizer
        >>> proto = io.BytesIO()
        >>> sentencepiece.SentencePieceTrainer.train(
        ...     sentence_iterator=iter(["to be or not"]),
        ...     model_writer=proto,
        ...     hard_vocab_limit=False,
        ...     minloglevel=2,
        ... )
        >>> tokenizer = SentencePieceTokenizer(proto.getvalue())
        >>> tokenizer.decode(tokenizer.encode("to be"))
        'to be'
    """

    file_name = "tokenizer.model"
    package = "sentencepiece"

    def __init__(self, proto: bytes | str | os.PathLike):
        sentencepiece = import_package("SentencePieceTokenizer", self.package)
        source = f"{len(proto)} bytes" if isinstance(proto, bytes) else repr(str(proto))
        self._proto = proto if isinstance(proto, bytes) else Path(proto).read_bytes()
        self._processor = sentencepiece.SentencePieceProcessor()
        if not _is_loaded(self._processor, self._proto):
            raise ValueError(
                f"SentencePieceTokenizer: proto must be a SentencePiece model. Got {source}, which is not one."
            )
        self.vocabulary_size = self._processor.get_piece_size()
        marks = {mark: self._processor.piece_to_id(mark) for mark in TURN_MARKS}
        marks = {mark: id for mark, id in marks.items() if not self._processor.is_unknown(id)}
        self._mark_ids = frozenset(marks.values())
        # The processor finds user-defined pieces in a text, but never control pieces.
        self._control_marks = {mark: id for mark, id in marks.items() if self._processor.is_control(id)}
        self.start_id = _valid(self._processor.bos_id())
        stops = (_valid(self._processor.eos_id()), marks.get(END_OF_TURN))
        self.stop_ids = tuple(id for id in stops if id is not None)
        self.pad_id = _valid(self._processor.pad_id()) or 0

    def encode(self, text: str, *, start: bool = True) -> list[int]:
        """The start token, if the model has one and `start` is not False, and the text's ids.

        Raises:
            ValueError: the text has a surrogate, which is not a character.
        """
        check_characters(text)
        ids = [self.start_id] if start and self.start_id is not None else []
        marks = "|".join(map(re.escape, self._control_marks))
        for part in re.split(f"({marks})", text) if marks else [text]:
            mark = self._control_marks.get(part)
            ids += self._processor.encode(part) if mark is None else [mark]
        return ids

    def token_bytes(self, token_id: int, is_first: bool = False) -> bytes:
        """The bytes of a piece: its characters with spaces for `▁`, or the byte that it represents."""
        check_id(token_id, self.vocabulary_size)
        if self._processor.is_control(token_id) or token_id in self._mark_ids:
            return b""
        piece = self._processor.id_to_piece(token_id)
        if self._processor.is_byte(token_id):
            return bytes([int(piece[3:5], 16)])
        # The processor handles the text of an unknown piece, and the space that a first piece loses.
        if is_first or self._processor.is_unknown(token_id):
            return self._processor.decode([token_id]).encode()
        return piece.replace("▁", " ").encode()

    def contents(self) -> dict[str, bytes]:
        """`tokenizer.model`, the original bytes of the model."""
        return {self.file_name: self._proto}

    @classmethod
    def load(cls, directory: str | os.PathLike) -> "SentencePieceTokenizer":
        """The tokenizer of a folder's `tokenizer.model`."""
        return cls(Path(directory) / cls.file_name)

    def get_config(self) -> dict:
        """The whole model, as base64."""
        return {"proto": base64.b64encode(self._proto).decode("ascii")}

    @classmethod
    def from_config(cls, config: dict) -> "SentencePieceTokenizer":
        """The inverse of `get_config`."""
        try:
            proto = base64.b64decode(config["proto"], validate=True)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"SentencePieceTokenizer: its config must hold a proto in base64. Got {error!r}."
            ) from error
        return cls(proto)

    def __eq__(self, other):
        return type(other) is type(self) and other._proto == self._proto

    def __hash__(self):
        return hash(self._proto)

    def __repr__(self):
        return f"SentencePieceTokenizer({self.vocabulary_size} pieces)"


def _is_loaded(processor, proto: bytes) -> bool:
    try:
        # The package does not check that its pieces are UTF-8.
        return processor.load_from_serialized_proto(proto) and all(
            isinstance(processor.id_to_piece(token_id), str) for token_id in range(processor.get_piece_size())
        )
    except (RuntimeError, UnicodeDecodeError):
        return False


def _valid(token_id: int) -> int | None:
    """The id, or None for -1, SentencePiece's id of a token that a model lacks."""
    return token_id if token_id >= 0 else None
