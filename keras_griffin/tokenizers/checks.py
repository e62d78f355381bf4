"""Checks of ids, texts and tokenizers."""

import contextlib
import os
from collections.abc import Iterator

from keras_griffin.checks import is_integer

#: The largest vocabulary, far above any published one: an id of a damaged file would ask for memory for all below it.
MOST_TOKENS = 2**20


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Inside the `with` block, a ValueError also names the file that is read."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{str(error).removesuffix('.')}, in {str(path)!r}.") from error


def check_id(token_id: int, vocabulary_size: int) -> None:
    """Check that an id is in the vocabulary."""
    if not 0 <= token_id < vocabulary_size:
        raise ValueError(
            f"decode: an id must be at least 0 and below the vocabulary's size {vocabulary_size}. Got {token_id}."
        )


def check_characters(text: str, owner: str = "encode") -> None:
    """Check that a text has characters only, and no surrogates, as for a command line's bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{owner}: the text must be characters only. Got the surrogate {text[error.start]!r} at {error.start}."
        ) from error


def check_is_tokenizer(owner: str, tokenizer) -> None:
    """Check that an object is a tokenizer, not, for example, the name of one."""
    try:
        fits = callable(tokenizer.encode) and callable(tokenizer.decode) and is_integer(tokenizer.vocabulary_size)
    except AttributeError:
        fits = False
    if isinstance(tokenizer, type) or not fits:
        raise ValueError(
            f"{owner}: a tokenizer must be one of keras_griffin.tokenizers, such as ByteTokenizer() or "
            f"load_tokenizer(folder). Got {tokenizer!r}."
        )
