"""The text that `train` and `compare` read: a corpus and its tokens."""

import argparse
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_griffin.commands.shared.errors import CommandError, refusals
from keras_griffin.commands.shared.load import load_named_tokenizer
from keras_griffin.commands.shared.runs import TOKENIZER, check_text, holds_run
from keras_griffin.commands.shared.terminal import bytes_of_files
from keras_griffin.files.atomic import atomic_folder
from keras_griffin.tasks.text import Corpus, load_corpus
from keras_griffin.tokenizers import ByteTokenizer, Tokenizer, train_bpe
from keras_griffin.tokenizers.load_tokenizer import TOKENIZER_FILES
from keras_griffin.training import HeldOutWindows, ResumableRun, token_byte_counts

#: How many characters are encoded at a time: a tokenizer needs many times the memory of the text.
_PIECE = 1 << 16
#: The most characters of a run's own prompt.
_MOST_OF_A_LINE = 24


@dataclass(frozen=True)
class TokenText:
    """A corpus and its tokens."""

    corpus: Corpus
    tokenizer: Tokenizer
    #: `(T,)` ids.
    train: np.ndarray
    validation: np.ndarray
    #: `(V,)`, the number of bytes of each token.
    token_bytes: np.ndarray

    @property
    def is_bytes(self) -> bool:
        """Whether the tokens are bytes."""
        return isinstance(self.tokenizer, ByteTokenizer)

    def held_out(self, arguments: argparse.Namespace, windows: int | None = None) -> HeldOutWindows:
        """This many windows of the held-out text, evenly spread; None for all of them."""
        return HeldOutWindows(self.validation, arguments.sequence_length, arguments.batch_size, windows)

    def predicted_bytes(self, held_out: HeldOutWindows) -> int:
        """The number of bytes of the tokens that are predicted in the windows."""
        return sum(int(self.token_bytes[targets[weights > 0]].sum()) for _, targets, weights in held_out)


def read_text(arguments: argparse.Namespace, resumed: ResumableRun | None) -> TokenText:
    """The text that the options name, as tokens; a run that resumes, in the folder `output`, keeps its tokenizer."""
    tokenizer = _find_tokenizer(arguments, resumed is not None)
    with refusals():
        corpus = load_corpus(
            arguments.files,
            seed=arguments.seed,
            least_bytes=arguments.sequence_length + 1,
            include_binary=arguments.include_binary,
            characters=not isinstance(tokenizer, ByteTokenizer),
            holds_run=holds_run,
        )
    if resumed:
        check_text(resumed, corpus)
    if isinstance(tokenizer, ByteTokenizer):
        return TokenText(corpus, tokenizer, corpus.train, corpus.validation, token_byte_counts(tokenizer))
    if tokenizer is None:
        # From the training text alone, so that the vocabulary reveals nothing of the held-out text.
        with refusals(ImportError):
            tokenizer = train_bpe(pieces(corpus.train), arguments.vocabulary)
    validation = _encode(tokenizer, corpus.validation, is_held_out=True)
    train = _encode(tokenizer, corpus.train)
    least = arguments.sequence_length + 1
    if min(len(train), len(validation)) < least:
        raise CommandError(
            f"train: the training and the held-out text must have at least {least} tokens each. "
            f"Got {len(train)} and {len(validation)}."
        )
    return TokenText(corpus, tokenizer, train, validation, token_byte_counts(tokenizer))


def keep_tokenizer(text: TokenText, folder: Path) -> None:
    """Write the tokenizer into the folder of a run, which then always resumes with it."""
    with refusals(), atomic_folder(folder / TOKENIZER, set(TOKENIZER_FILES), function_name="train") as new:
        text.tokenizer.save(new)


def own_prompt(text: TokenText) -> str:
    """The beginning of a line, at the margin and long if possible, in the middle of the held-out text; or nothing."""
    data = text.corpus.validation.tobytes()
    middle = data.find(b"\n", len(data) // 2) + 1
    text_around = data[middle : middle + _PIECE] + b"\n" + data[:_PIECE]
    lines = [line for line in text_around.decode("utf-8", "surrogateescape").splitlines() if line.strip()]
    line = max(lines, key=lambda line: (not line[0].isspace(), len(line) >= 2 * _MOST_OF_A_LINE), default="").strip()
    end = min(_MOST_OF_A_LINE, -(-len(line) // 2))
    # Back to the end of a word, without the space after it, which is part of the next word's token.
    is_within_a_word = re.match(r"\w\w", line[end - 1 : end + 1])
    return (re.sub(r"\w+$", "", line[:end]) if is_within_a_word else line[:end]).rstrip() or line[:end]


def describe_text(text: TokenText, compressors: Mapping[str, float]) -> dict[str, str]:
    """The text, its two parts, and what compressors need for the held-out one."""
    corpus = text.corpus
    return {
        "text": corpus.name,
        **({"left out": corpus.left_out} if corpus.left_out else {}),
        "to train on": bytes_of_files(len(corpus.train), len(corpus.train_files)),
        "held out": bytes_of_files(len(corpus.validation), len(corpus.validation_files)),
        "to beat": versus(compressors),
    }


def describe_validation(text: TokenText, held_out: HeldOutWindows) -> str:
    """How much of the held-out text a model is validated on."""
    num_bytes = len(text.corpus.validation)
    # The first token has no context, so it is not predicted.
    if held_out.num_predictions == len(text.validation) - 1:
        return f"all {num_bytes:,} held-out bytes"
    return f"{text.predicted_bytes(held_out):,} of the {num_bytes:,} held-out bytes, evenly spread"


def versus(compressors: Mapping[str, float]) -> str:
    """A text such as: zlib needs 1.862 and lzma 1.463 bits per byte."""
    zlib, lzma = compressors["zlib"], compressors["lzma"]
    return f"zlib needs {zlib:.3f} and lzma {lzma:.3f} bits per byte"


def has_tokenizer(arguments: argparse.Namespace) -> bool:
    """Whether the options name or train a tokenizer."""
    return (arguments.vocabulary, arguments.tokenizer) != (None, None)


def pieces(data: np.ndarray) -> Iterator[str]:
    """The characters of `data (T,)`, UTF-8, in pieces that end with a line where possible."""
    characters = data.tobytes().decode("utf-8")
    start = 0
    while start < len(characters):
        end = start + _PIECE
        if end < len(characters):
            end = characters.rfind("\n", start, end) + 1 or end
        yield characters[start:end]
        start = end


def _find_tokenizer(arguments, is_resumed):
    """The byte tokenizer, the resumed run's or the named one; None if one is to be trained."""
    if not has_tokenizer(arguments):
        return ByteTokenizer()
    if is_resumed:
        folder = str(Path(arguments.output) / TOKENIZER)
        return load_named_tokenizer("train", folder, option="the tokenizer of a run")
    return None if arguments.tokenizer is None else load_named_tokenizer("train", arguments.tokenizer)


def _encode(tokenizer, data: np.ndarray, is_held_out: bool = False) -> np.ndarray:
    """The ids `(T,)` of a text; with `is_held_out` they must decode to it byte for byte."""
    dtype = "uint16" if tokenizer.vocabulary_size <= 1 << 16 else "int32"
    parts = []
    for piece in pieces(data):
        ids, text = tokenizer.encode(piece, start=False), piece.encode()
        parts.append(np.array(ids, dtype))
        written = b"".join(map(tokenizer.token_bytes, ids)) if is_held_out else text
        # Some tokenizers prepend a space, which they remove again when they decode.
        if text not in (written, written.removeprefix(b" ")):
            same = len(os.path.commonprefix([written, text]))
            raise CommandError(
                "train: a tokenizer must reproduce the held-out text exactly. "
                f"Got {tokenizer!r}, which writes {written[same : same + 20]!r} for {text[same : same + 20]!r}."
            )
    return np.concatenate(parts)
