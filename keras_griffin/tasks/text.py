"""Text as bytes: a corpus of files, the part of it that training never sees, and what compressors need for that."""

import lzma
import os
import sysconfig
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: The share of the bytes held out where whole files are held out, and where there is one file only.
_SHARE_OF_FILES = 0.04
_SHARE_OF_ONE_FILE = 0.1
_NOT_STANDARD_LIBRARY = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}


class CorpusError(ValueError):
    """The files can't serve as a corpus; the message is one sentence for whoever named them."""


@dataclass(frozen=True)
class Document:
    """One file: its name, for people, and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Corpus:
    """Bytes to train on and bytes to validate on.

    Args:
        name: what the text is, for people.
        train: `(T,)` uint8.
        validation: `(T,)` uint8; none of it was cut from where `train` was.
        train_files: the names of the documents in `train`, in order.
        validation_files: the names of the documents in `validation`, in order.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    train_files: tuple[str, ...]
    validation_files: tuple[str, ...]


def load_corpus(paths: Sequence[str | os.PathLike] = (), *, seed: int = 0, least_bytes: int = 2) -> Corpus:
    """Read files and hold a part of them out.

    Several files are split by file: about 4% of the bytes are held out, or the smallest file where every file is
    larger. Of files with the same bytes one is kept, so no held-out file has a copy in the training part. A single file
    is split by position: the first 90% trains, the last 10% validates.

    Args:
        paths: files, taken as bytes, and folders, with all files below them but the hidden ones; none stands for the
            sources of Python's own standard library, without its test suites: about 12 MB.
        seed: which files are held out.
        least_bytes: how many bytes each part must have.

    Returns:
        A `Corpus`; the same for the same files and seed.

    Raises:
        CorpusError: a path is missing or can't be read, or a part has fewer than `least_bytes` bytes.

    Examples:
        >>> from keras_griffin.tasks.text import load_corpus
        >>> corpus = load_corpus()
        >>> set(corpus.train_files) & set(corpus.validation_files)
        set()
    """
    if paths:
        name = _name(paths)
        documents = _distinct(document for path in paths for document in _read(Path(path)))
    else:
        name = "Python's standard library"
        documents = _distinct(_standard_library())
    if not documents:
        raise CorpusError(f"load_corpus: a corpus must have at least one byte. Got none from {name}.")
    if len(documents) == 1:
        train, validation = split_by_position(documents[0], _SHARE_OF_ONE_FILE)
    else:
        train, validation = split_by_file(documents, _SHARE_OF_FILES, seed)
    corpus = Corpus(name, _join(train), _join(validation), _names(train), _names(validation))
    if min(len(corpus.train), len(corpus.validation)) < least_bytes:
        raise CorpusError(
            f"load_corpus: the training and the validation part must have at least {least_bytes} bytes each. "
            f"Got {len(corpus.train)} and {len(corpus.validation)} from {name}."
        )
    return corpus


def split_by_position(document: Document, share: float) -> tuple[list[Document], list[Document]]:
    """Cut one document in two: the last `share` of its bytes is held out."""
    cut = len(document.data) - int(share * len(document.data))
    return [Document(document.name, document.data[:cut])], [Document(document.name, document.data[cut:])]


def split_by_file(documents: Sequence[Document], share: float, seed: int) -> tuple[list[Document], list[Document]]:
    """Hold whole documents out, in an order drawn from the seed, until they make `share` of the bytes.

    A document that would take the held-out part beyond 1.25 times its share is passed over. Where that leaves none, the
    smallest document is held out.
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


def _name(paths: Sequence[str | os.PathLike]) -> str:
    """The paths by name, where they are few."""
    if any(not str(path) for path in paths):
        raise CorpusError("load_corpus: a path must have a name. Got ''.")
    first = ", ".join(str(path) for path in paths[:3])
    return first if len(paths) <= 3 else f"{first} and {len(paths) - 3} more"


def _read(path: Path) -> Iterator[Document]:
    if path.is_dir():
        yield from _read_folder(path, str(path), lambda name: not name.startswith(".") and name != "__pycache__")
    elif path.is_file():
        yield Document(str(path), _read_bytes(path))
    elif path.exists():
        raise CorpusError(f"load_corpus: a path must be a file or a folder. Got {str(path)!r}, which is neither.")
    else:
        raise CorpusError(f"load_corpus: a path must exist. Got {str(path)!r}.")


def _standard_library() -> Iterator[Document]:
    folder = Path(sysconfig.get_path("stdlib"))
    return _read_folder(folder, "", lambda name: name not in _NOT_STANDARD_LIBRARY, suffix=".py")


def _read_folder(folder: Path, name: str, is_wanted: Callable[[str], bool], suffix: str = "") -> Iterator[Document]:
    """Every wanted file below the folder, in the order of the paths' parts."""
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise CorpusError(f"load_corpus: a folder must be readable. Got {str(folder)!r}: {error.strerror}.") from error
    for entry in entries:
        if not is_wanted(entry.name):
            continue
        entry_name = os.path.join(name, entry.name)
        # A link to a folder may lead back to where it stands.
        if entry.is_dir() and not entry.is_symlink():
            yield from _read_folder(entry, entry_name, is_wanted, suffix)
        elif entry.is_file() and entry.name.endswith(suffix):
            yield Document(entry_name, _read_bytes(entry))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"load_corpus: a file must be readable. Got {str(path)!r}: {error.strerror}.") from error


def _distinct(documents: Iterable[Document]) -> list[Document]:
    """The first document of each content, without the empty ones."""
    first: dict[bytes, Document] = {}
    for document in documents:
        first.setdefault(document.data, document)
    return [document for document in first.values() if document.data]


def _join(documents: Sequence[Document]) -> np.ndarray:
    return np.frombuffer(b"".join(document.data for document in documents), "uint8")


def _names(documents: Sequence[Document]) -> tuple[str, ...]:
    return tuple(document.name for document in documents)
