"""Documents as token ids in one file, for corpora larger than memory.

Little-endian throughout:

    8 bytes   magic, b"KGTOKENS"
    4         version, 1
    4         bytes of a token: 2 if the vocabulary fits, else 4
    8         size of the vocabulary, V
    8         documents, D
    8         tokens, N
    32        fingerprint of the tokenizer, zeros if unknown
    4         CRC-32 of the tokens' bytes
    4         CRC-32 of the 76 bytes before this and of the offsets
    ...       N tokens, then zeros up to a multiple of 8
    8 (D+1)   offsets: document i is tokens offsets[i] to offsets[i + 1], the first offset 0 and the last N

A folder of such files, 00000-of-00004.tokens to 00003-of-00004.tokens, is the documents of all of them in this order.
"""

import os
import re
import shutil
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import keras
import numpy as np

from keras_griffin.files.durable import durable_file
from keras_griffin.tokenizers import Tokenizer
from keras_griffin.training.data.fingerprint import UNKNOWN, tokenizer_fingerprint
from keras_griffin.training.data.packed_rows import as_tokens

MAGIC = b"KGTOKENS"
VERSION = 1
#: The part of the header before its checksum.
_HEADER = struct.Struct("<8sIIQQQ32sI")
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CHECKSUM.size
_DTYPES: dict[int, np.dtype] = {2: np.dtype("<u2"), 4: np.dtype("<u4")}
_OFFSET = np.dtype("<u8")
#: How many bytes are read at a time.
_CHUNK = 1 << 24
_SHARD = re.compile(r"\d{5}-of-\d{5}\.tokens")


def shard_name(number: int, count: int) -> str:
    """The name of a file in a folder of so many."""
    return f"{number:05}-of-{count:05}.tokens"


def shard_names(folder: str | os.PathLike) -> list[str]:
    """The names of the token files in a folder, in order."""
    # Files alone: a link so named might lead back to the folder.
    return sorted(path.name for path in Path(folder).iterdir() if _SHARD.fullmatch(path.name) and path.is_file())


class TokenFile:
    """The documents of a file that `write_token_file` or `python -m keras_griffin tokenize` wrote, or of several.

    The tokens are memory-mapped: only the pages in use are read, and the system may drop them again. The table of
    offsets, 8 bytes per document, is checked with the header when the file is opened; `verify` also checks the tokens.
    Of a folder, that table is in memory.

    Args:
        path: the file; or a folder whose files, its shards, are named `00000-of-00004.tokens` and so on, and count as
            one, in this order. Other names in the folder are ignored.

    Attributes:
        shards: the `TokenFile` of each file of a folder; empty for a file.
        offsets: `(D + 1,)` uint64: where each document begins in all of them concatenated, and the last ends.
        vocabulary_size: V; ids are below it.
        dtype: of the tokens, uint16 or uint32.
        fingerprint: of the tokenizer, as hexadecimal digits; None if unknown.
        checksum: the CRC-32 of the header, which includes that of the tokens, and of the table; of a folder, that of
            its files' checksums. It identifies the documents, and how they are divided into files.

    Raises:
        ValueError: it is not a token file, is truncated, or its table is damaged; a file of the folder is missing; or
            the files of the folder differ in their vocabulary or tokenizer.

    Examples:
        >>> import tempfile
        >>> from keras_griffin.training import TokenFile, write_token_file
        >>> path = tempfile.mkdtemp() + "/some.tokens"
        >>> write_token_file(path, [[1, 2, 3], [4, 5]], vocabulary_size=256)
        >>> TokenFile(path)
        TokenFile(2 documents, 5 tokens of 256, uint16)
        >>> TokenFile(path)[1].tolist()
        [4, 5]
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.shards: tuple[TokenFile, ...] = ()
        if self.path.is_dir():
            self._open_folder()
        else:
            self._open_file()

    def _open_file(self):
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            start = file.read(HEADER_BYTES)
        if len(start) < HEADER_BYTES or not start.startswith(MAGIC):
            self._refuse(f"the file must begin with {MAGIC!r} and a header. Got {start[:8]!r} and {size} bytes")
        _, version, token_bytes, self.vocabulary_size, documents, tokens, digest, self._tokens_checksum = (
            _HEADER.unpack_from(start)
        )
        if version != VERSION:
            self._refuse(f"the file must be of version {VERSION}. Got version {version}")
        if token_bytes not in _DTYPES:
            self._refuse(f"a token must have 2 or 4 bytes. Got {token_bytes}")
        self.dtype = _DTYPES[token_bytes]
        offsets_start = _offsets_start(tokens, token_bytes)
        wanted = offsets_start + (documents + 1) * _OFFSET.itemsize
        if wanted != size:
            self._refuse(f"{documents} documents of {tokens} tokens must make {wanted} bytes. Got {size}")
        self.fingerprint = None if digest == UNKNOWN else digest.hex()
        mapped = np.memmap(self.path, "uint8", "r")
        self.offsets = mapped[offsets_start:].view(_OFFSET)
        self.checksum = _checksum(self.offsets.data, zlib.crc32(start[: _HEADER.size]))
        if (self.checksum,) != _CHECKSUM.unpack_from(start, _HEADER.size):
            self._refuse("the header and the table of documents must match their checksum. Got a mismatch")
        self._tokens = mapped[HEADER_BYTES : HEADER_BYTES + tokens * token_bytes].view(self.dtype)

    def _open_folder(self):
        names = shard_names(self.path)
        count = max((int(name.removesuffix(".tokens").rpartition("-")[2]) for name in names), default=1)
        if unfit := sorted(set(names) ^ {shard_name(number, count) for number in range(count)}):
            has = "without" if unfit[0] not in names else "with"
            rule = f"a folder must have all of its files, {shard_name(0, count)} and so on, and no others so named"
            self._refuse(f"{rule}. Got a folder {has} {unfit[0]}")
        self.shards = tuple(TokenFile(self.path / name) for name in names)
        first = self.shards[0]
        self.vocabulary_size, self.dtype, self.fingerprint = first.vocabulary_size, first.dtype, first.fingerprint
        for name, shard in zip(names, self.shards, strict=True):
            if (shard.vocabulary_size, shard.fingerprint) != (self.vocabulary_size, self.fingerprint):
                self._refuse(
                    "the files of a folder must have one vocabulary and one tokenizer. Got "
                    f"{self.vocabulary_size} ids of tokenizer {self.fingerprint} in {names[0]}, and "
                    f"{shard.vocabulary_size} of {shard.fingerprint} in {name}"
                )
        self._firsts = np.cumsum([0, *map(len, self.shards)])
        starts = np.cumsum([0, *(shard.num_tokens for shard in self.shards)], dtype=_OFFSET)
        parts = (shard.offsets[1:] + start for shard, start in zip(self.shards, starts[:-1], strict=True))
        self.offsets = np.concatenate([starts[:1], *parts])
        self.checksum = zlib.crc32(np.array([shard.checksum for shard in self.shards], "<u4").tobytes())

    @property
    def tokens(self) -> np.ndarray:
        """`(N,)` of all documents of a file, concatenated; read-only."""
        if self.shards:
            self._refuse(f"tokens must be those of one file, such as shards[0]. Got {len(self.shards)} files")
        return self._tokens

    @property
    def num_tokens(self) -> int:
        """N, of all documents."""
        return int(self.offsets[-1])

    @property
    def lengths(self) -> np.ndarray:
        """The length of each document, `(D,)` int64."""
        return np.diff(self.offsets.astype("int64"))

    def verify(self) -> None:
        """Read all tokens and check their checksum.

        Raises:
            ValueError: it does not match.
        """
        for shard in self.shards:
            shard.verify()
        if not self.shards and _checksum(self.tokens.data) != self._tokens_checksum:
            self._refuse("the tokens must match their checksum. Got a mismatch")

    def check_model(self, model: keras.Model) -> None:
        """Check that a model can read these tokens, and that they are those of its tokenizer.

        Args:
            model: a `keras_griffin.models.LanguageModel`.

        Raises:
            ValueError: its vocabulary is too small, or its tokenizer a different one.
        """
        self.checked_vocabulary_size("check_model", model.config.vocabulary_size)
        tokenizer = model.tokenizer
        if None not in (tokenizer, self.fingerprint) and tokenizer_fingerprint(tokenizer).hex() != self.fingerprint:
            raise ValueError(
                f"check_model: the tokens must be those of the model's tokenizer, {tokenizer!r}. "
                f"Got those of a different one, in {str(self.path)!r}."
            )

    def checked_vocabulary_size(self, function_name: str, vocabulary_size: int | None) -> int:
        """The size of the vocabulary, an upper bound of the ids: the model's if it is given."""
        if vocabulary_size is None:
            return self.vocabulary_size
        if self.vocabulary_size > vocabulary_size:
            raise ValueError(
                f"{function_name}: the tokens must be of the model's vocabulary of {vocabulary_size}. "
                f"Got a vocabulary of {self.vocabulary_size}, in {str(self.path)!r}."
            )
        return vocabulary_size

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        number = int(number)
        if not -len(self) <= number < len(self):
            raise IndexError(f"TokenFile: a document's number must be below {len(self)}. Got {number}.")
        number %= len(self)
        if self.shards:
            place = int(np.searchsorted(self._firsts, number, side="right")) - 1
            return self.shards[place][number - int(self._firsts[place])]
        return self.tokens[int(self.offsets[number]) : int(self.offsets[number + 1])]

    def __reduce__(self):
        # Other processes open the file themselves; NumPy would pickle its whole contents.
        return TokenFile, (self.path,)

    def __repr__(self) -> str:
        tokens = f"{self.num_tokens:,} tokens of {self.vocabulary_size:,}"
        files = f", {len(self.shards):,} files" if self.shards else ""
        return f"TokenFile({len(self):,} documents, {tokens}, {self.dtype.name}{files})"

    def _refuse(self, reason) -> NoReturn:
        raise ValueError(f"TokenFile: {reason}, in {str(self.path)!r}.")


def write_token_file(
    path: str | os.PathLike,
    documents: Iterable,
    vocabulary_size: int | None = None,
    *,
    tokenizer: Tokenizer | None = None,
) -> None:
    """Write documents to a file, which is replaced atomically, even on a loss of power.

    One document is in memory at a time. The unfinished file is in a folder `.NAME.partial-...` next to it, which is
    removed on an exception. SIGKILL leaves it; nothing reads it, and nothing removes it, since another process may be
    writing there.

    Args:
        path: of the file; its folder must exist.
        documents: an iterable of integer arrays `(T,)`, or of lists of integers; empty ones are kept.
        vocabulary_size: V; by default the tokenizer's.
        tokenizer: the one that made the ids, so that a model with a different one can be refused; None if unknown.

    Raises:
        ValueError: there is neither a vocabulary size nor a tokenizer; a document is not integers; or an id is out of
            range.
    """
    if vocabulary_size is None and tokenizer is not None:
        vocabulary_size = tokenizer.vocabulary_size
    if vocabulary_size is None or not 1 <= vocabulary_size <= 1 << 32:
        raise ValueError(
            f"write_token_file: vocabulary_size must be from 1 to 2**32, or a tokenizer's. Got {vocabulary_size}."
        )
    dtype = _DTYPES[2 if vocabulary_size <= 1 << 16 else 4]
    num_documents = num_tokens = tokens_checksum = 0
    with durable_file(path) as aside:
        table = aside.with_name("offsets")
        with aside.open("w+b") as file, table.open("w+b") as offsets:
            file.write(bytes(HEADER_BYTES))
            offsets.write(bytes(_OFFSET.itemsize))
            for document in documents:
                tokens = _checked(document, num_documents, vocabulary_size).astype(dtype).tobytes()
                file.write(tokens)
                tokens_checksum = zlib.crc32(tokens, tokens_checksum)
                num_documents += 1
                num_tokens += len(tokens) // dtype.itemsize
                offsets.write(num_tokens.to_bytes(_OFFSET.itemsize, "little"))
            file.write(bytes(_offsets_start(num_tokens, dtype.itemsize) - file.tell()))
            fingerprint = UNKNOWN if tokenizer is None else tokenizer_fingerprint(tokenizer)
            counts = dtype.itemsize, vocabulary_size, num_documents, num_tokens
            header = _HEADER.pack(MAGIC, VERSION, *counts, fingerprint, tokens_checksum)
            checksum = zlib.crc32(header)
            offsets.seek(0)
            while chunk := offsets.read(_CHUNK):
                checksum = zlib.crc32(chunk, checksum)
            offsets.seek(0)
            shutil.copyfileobj(offsets, file)
            file.seek(0)
            file.write(header + _CHECKSUM.pack(checksum))


def _offsets_start(tokens: int, token_bytes: int) -> int:
    end = HEADER_BYTES + tokens * token_bytes
    return end + -end % _OFFSET.itemsize


def _checked(document, number: int, vocabulary_size: int) -> np.ndarray:
    tokens = as_tokens("write_token_file", document, number)
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocabulary_size:
        raise ValueError(
            f"write_token_file: token ids must be from 0 to {vocabulary_size - 1}. "
            f"Got ids from {tokens.min()} to {tokens.max()}, document {number}."
        )
    return tokens


def _checksum(view: memoryview, checksum: int = 0) -> int:
    view = view.cast("B")
    for start in range(0, len(view), _CHUNK):
        checksum = zlib.crc32(view[start : start + _CHUNK], checksum)
    return checksum
