"""Text as bytes: a corpus of files, its held-out part, and the size of that under compressors."""

import lzma
import os
import sysconfig
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_griffin.tasks.text_files import CorpusError, LeftOut, files_below, find_text_files, read_file

#: The share of the bytes to hold out, as whole files, and from a single file.
_SHARE_OF_FILES = 0.04
_SHARE_OF_ONE_FILE = 0.1
_NOT_STANDARD_LIBRARY = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}


@dataclass(frozen=True)
class Document:
    """One file: its name, for display, and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Corpus:
    """Bytes to train on and bytes to validate on.

    Args:
        name: of the text, for display.
        train: `(T,)` uint8.
        validation: `(T,)` uint8; it shares no document, or no part of one, with `train`.
        train_files: the names of the documents in `train`, in order.
        validation_files: the names of the documents in `validation`, in order.
        left_out: what was not read, such as `3 binary files (1.2 MB), 2 hidden`; empty if nothing.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    train_files: tuple[str, ...]
    validation_files: tuple[str, ...]
    left_out: str = ""


def load_corpus(
    paths: Sequence[str | os.PathLike] = (),
    *,
    seed: int = 0,
    least_bytes: int = 2,
    include_binary: bool = False,
    characters: bool = False,
    holds_run: Callable[[Path], bool] = lambda folder: False,
) -> Corpus:
    """Read files and hold a part of them out.

    Several files are split by file: about 4% of the bytes are held out, or the smallest file if every file is larger.
    Of files with the same bytes one is kept, so no held-out file has a copy in the training part. A single file is
    split by position: the first 90% is for training, the last 10% for validation.

    Args:
        paths: files, read as bytes, and folders, with the files that `keras_griffin.tasks.text_files.find_text_files`
            finds inside: neither hidden nor binary ones. None for the source of Python's standard library, without its
            test suites: about 12 MB.
        seed: of the choice of held-out files.
        least_bytes: how many bytes each part must have.
        include_binary: whether to read binary files inside folders too.
        characters: whether every file must be UTF-8, and is cut between two characters.
        holds_run: whether a folder holds a training run, and is left out.

    Returns:
        A `Corpus`; the same for the same files and seed.

    Raises:
        CorpusError: a path is missing or can't be read, a file must be UTF-8 but is not, or a part has fewer than
            `least_bytes` bytes.

    Examples:
        >>> from keras_griffin.tasks.text import load_corpus
        >>> corpus = load_corpus()
        >>> set(corpus.train_files) & set(corpus.validation_files)
        set()
    """
    left_out = LeftOut()
    if paths:
        name = _name(paths)
        found = find_text_files(
            paths, left_out, speaker="load_corpus", include_binary=include_binary, holds_run=holds_run
        )
        files: Iterator[tuple[str, Path]] = ((str(path), path) for path in found)
    else:
        name, files = "Python's standard library", _standard_library()
    documents = _distinct((Document(shown, read_file(path, "load_corpus")) for shown, path in files), left_out)
    source = f"{name}, leaving out {left_out}" if str(left_out) else name
    if not documents:
        raise CorpusError(f"load_corpus: a corpus must have at least one byte. Got none from {source}.")
    if characters:
        _check_utf_8(documents)
    if len(documents) == 1:
        train, validation = split_by_position(documents[0], _SHARE_OF_ONE_FILE, characters)
    else:
        train, validation = split_by_file(documents, _SHARE_OF_FILES, seed)
    data = [np.frombuffer(b"".join(document.data for document in part), "uint8") for part in (train, validation)]
    names = [tuple(document.name for document in part) for part in (train, validation)]
    corpus = Corpus(name, data[0], data[1], names[0], names[1], str(left_out))
    if min(len(corpus.train), len(corpus.validation)) < least_bytes:
        raise CorpusError(
            f"load_corpus: the training and the validation part must have at least {least_bytes} bytes each. "
            f"Got {len(corpus.train)} and {len(corpus.validation)} from {source}."
        )
    return corpus


def split_by_position(
    document: Document, share: float, characters: bool = False
) -> tuple[list[Document], list[Document]]:
    """Cut one document in two: the last `share` of its bytes is held out; with `characters`, none is cut."""
    cut = len(document.data) - int(share * len(document.data))
    # A continuation byte of a character begins with the bits 10.
    while characters and 0 < cut < len(document.data) and document.data[cut] >> 6 == 0b10:
        cut -= 1
    return [Document(document.name, document.data[:cut])], [Document(document.name, document.data[cut:])]


def split_by_file(documents: Sequence[Document], share: float, seed: int) -> tuple[list[Document], list[Document]]:
    """Hold out whole documents, in an order drawn from the seed, until they make up `share` of the bytes.

    A document that would take the held-out part beyond 1.25 times its share is skipped. If none is left, the smallest
    document is held out.
    """
    sizes = [len(document.data) for document in documents]
    target = share * sum(sizes)
    held_out, size = set(), 0
    for index in np.random.default_rng(seed).permutation(len(documents)):
        if size < target and size + sizes[index] <= 1.25 * target:
            held_out.add(index)
            size += sizes[index]
    if not held_out:
        held_out = {int(np.argmin(sizes))}
    train = [document for index, document in enumerate(documents) if index not in held_out]
    return train, [document for index, document in enumerate(documents) if index in held_out]


def compressed_bits_per_byte(data: np.ndarray) -> dict[str, float]:
    """The bits that zlib at level 9 and lzma need for each byte of `data (T,)`, uint8.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.tasks.text import compressed_bits_per_byte
        >>> sorted(compressed_bits_per_byte(np.zeros(1000, "uint8")))
        ['lzma', 'zlib']
    """
    text = data.tobytes()
    compressed = {"zlib": zlib.compress(text, 9), "lzma": lzma.compress(text)}
    return {name: 8 * len(code) / len(text) for name, code in compressed.items()}


def frequency_bits_per_byte(train: np.ndarray, data: np.ndarray) -> float:
    """The bits that each byte of `data (T,)` needs by how often single bytes occur in `train`, `(T,)`, both uint8.

        -mean log2((count_b + 1) / (T + 256))

    A model that needs more has learned nothing of the order of bytes.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.tasks.text import frequency_bits_per_byte
        >>> f"{frequency_bits_per_byte(np.arange(256, dtype='uint8'), np.zeros(10, 'uint8')):.3f}"
        '8.000'
    """
    counts = np.bincount(train, minlength=256) + 1
    bits = np.log2(counts.sum()) - np.log2(counts)
    return float(bits @ np.bincount(data, minlength=256)) / len(data)


def _name(paths: Sequence[str | os.PathLike]) -> str:
    """The paths by name, the first three if there are more."""
    if any(not str(path) for path in paths):
        raise CorpusError("load_corpus: a path must have a name. Got ''.")
    first = ", ".join(str(path) for path in paths[:3])
    return first if len(paths) <= 3 else f"{first} and {len(paths) - 3} more"


def _standard_library() -> Iterator[tuple[str, Path]]:
    """The source files' names relative to their folder, and their paths."""
    folder = Path(sysconfig.get_path("stdlib"))
    for path in files_below(
        folder, LeftOut(), speaker="load_corpus", is_wanted=lambda name: name not in _NOT_STANDARD_LIBRARY
    ):
        if path.suffix == ".py":
            yield str(path.relative_to(folder)), path


def _distinct(documents: Iterable[Document], left_out: LeftOut) -> list[Document]:
    """The first document of each content, without the empty ones."""
    first: dict[bytes, Document] = {}
    for document in documents:
        if not document.data:
            left_out.add("empty")
        elif first.setdefault(document.data, document) is not document:
            left_out.add("copy")
    return list(first.values())


def _check_utf_8(documents: Sequence[Document]) -> None:
    for document in documents:
        try:
            document.data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorpusError(
                "load_corpus: a text must be UTF-8 unless the tokens are bytes. "
                f"Got {document.name}, with an invalid byte at {error.start}."
            ) from error
