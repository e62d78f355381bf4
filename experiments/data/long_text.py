"""The text of the experiments: bytes or tokens to train on, and whole held-out documents.

It is the file that `EXPERIMENTS_TEXT` names, or else one that the experiment names, or else the source of Python's
standard library, which every machine has.
"""

import functools
import gzip
import hashlib
import os
import platform
import sysconfig
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.novels import load_novels
from experiments.harness.run import Run
from experiments.harness.training import TRAINING
from keras_griffin.tasks import TaskBatch
from keras_griffin.tasks.text import Corpus, load_corpus
from keras_griffin.tokenizers import train_bpe

VARIABLE = "EXPERIMENTS_TEXT"
#: Characters that a tokenizer reads at once.
PIECE = 2**16
#: Endings of files that gzip unpacks, the second of dictionaries; and that of R's data.
PACKED, R_DATA = (".gz", ".dz"), ".rdb"


def missing(experiment: str, text: Path, package: str) -> str:
    """Why an experiment has no text; empty if it has one.

    Args:
        experiment: its name.
        text: what it reads where the variable names no file.
        package: of Debian, which installs that.
    """
    if os.environ.get(VARIABLE) or text.exists():
        return ""
    return (
        f"{experiment}: the text must be {text}, which `apt-get install {package}` installs on Debian, or the file "
        f"that {VARIABLE} names. Got neither."
    )


def text_name(otherwise: Path | None = None) -> str:
    """What is read, with the version or the digest that its bytes depend on; "no text" for a file that is missing.

    Args:
        otherwise: a file to read where the variable names none; None for the standard library.
    """
    path = os.environ.get(VARIABLE) or otherwise
    if not path:
        return f"the standard library of Python {platform.python_version()}"
    if not Path(path).exists():
        return "no text"
    return f"{Path(path).name} {hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]}"


def corpus(otherwise: Path | None = None) -> Corpus:
    """The text, read once a process; `otherwise` as for `text_name`.

    Raises:
        ValueError: the file is not what its ending says.
    """
    return _corpus(os.environ.get(VARIABLE) or otherwise)


class Tokens(NamedTuple):
    """A text as tokens of byte-pair encoding."""

    #: `(T,)` int32.
    train: np.ndarray
    #: Of the held-out part, `(T,)` int32 each.
    documents: list[np.ndarray]


def tokens(vocabulary_size: int, otherwise: Path | None = None) -> Tokens:
    """The text as tokens of an encoding that its training part gives, once a process; what is not UTF-8 is replaced.

    Args:
        vocabulary_size: of the encoding.
        otherwise: as for `text_name`.

    Raises:
        ImportError: `tokenizers`, which the extra of this name installs, is missing.
    """
    return _tokens(vocabulary_size, os.environ.get(VARIABLE) or otherwise)


@functools.cache
def _tokens(vocabulary_size, path):
    text = _corpus(path)
    tokenizer = train_bpe(_pieces(text.train), vocabulary_size)

    def encoded(data):
        return np.concatenate([np.asarray(tokenizer.encode(piece), "int32") for piece in _pieces(data)])

    return Tokens(encoded(text.train), [encoded(document) for document in documents(text) if len(document)])


def _pieces(data):
    text = data.tobytes().decode("utf-8", "replace")
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


def token_batch(run: Run, rows: int, seed: int, otherwise: Path | None = None) -> TaskBatch:
    """As `window_batch`, of tokens: the run's config has the size of the vocabulary."""
    text = tokens(run.config.vocabulary_size, otherwise)
    data = text.train if seed >= TRAINING else np.concatenate(text.documents)
    return random_windows(data, rows, run.data["length"], seed)


def next_windows(run: Run, rows: int, index: int, otherwise: Path | None = None) -> TaskBatch:
    """Windows of the training part, each of which begins where that in its row of the batch before has ended.

    Args:
        run: its data have the `length` of a row.
        rows: B.
        index: of the batch; before the first one stand random places that follow from the run's seed.
        otherwise: as for `text_name`.
    """
    data, length = tokens(run.config.vocabulary_size, otherwise).train, run.data["length"]
    starts = np.random.default_rng(run.seed).integers(0, len(data), size=(rows, 1)) + index * length
    windows = data[(starts + np.arange(length + 1)) % len(data)]
    return TaskBatch(windows[:, :-1], windows[:, 1:], np.ones((rows, length), "float32"))


def random_windows(data: np.ndarray, rows: int, length: int, seed: int) -> TaskBatch:
    """Windows at random places of a text, to predict each next byte: B `rows`, T `length`.

    Args:
        data: `(bytes,)` uint8, more than T.
        rows: B.
        length: T.
        seed: of the places.
    """
    starts = np.random.default_rng(seed).integers(0, len(data) - length, size=(rows, 1))
    windows = data[starts + np.arange(length + 1)].astype("int32")
    return TaskBatch(windows[:, :-1], windows[:, 1:], np.ones((rows, length), "float32"))


def window_batch(run: Run, rows: int, seed: int, otherwise: Path | None = None) -> TaskBatch:
    """Windows of the training part, or for the seeds of validation of the held-out part.

    Args:
        run: its data have the `length` of a row.
        rows: B.
        seed: of the places.
        otherwise: as for `text_name`.
    """
    text = corpus(otherwise)
    return random_windows(text.train if seed >= TRAINING else text.validation, rows, run.data["length"], seed)


def held_out_windows(number: int, length: int, otherwise: Path | None = None, vocabulary_size: int = 0) -> np.ndarray:
    """Windows without a common byte, each inside one held-out document: `(at most number, length)` int32.

    The first of each document come before the second ones, so that a long document does not crowd out the others.

    Args:
        number: of windows.
        length: of each.
        otherwise: as for `text_name`.
        vocabulary_size: of `tokens`; 0 for bytes.

    Raises:
        ValueError: no document is so long.
    """
    found = tokens(vocabulary_size, otherwise).documents if vocabulary_size else documents(corpus(otherwise))
    windows = [
        (place, document[place : place + length])
        for document in found
        for place in range(0, len(document) - length + 1, length)
    ]
    if not windows:
        unit = "tokens" if vocabulary_size else "bytes"
        raise ValueError(
            f"held_out_windows: a held-out document must have {length:,} {unit}. Got none in {text_name(otherwise)}."
        )
    # Sorting is stable: documents keep their order.
    windows.sort(key=lambda window: window[0])
    return np.array([window for _, window in windows[:number]], "int32")


def documents(text: Corpus) -> list[np.ndarray]:
    """The held-out bytes, document by document; of a single file, its held-out part."""
    if len(text.validation_files) == 1:
        return [text.validation]
    folder = Path(sysconfig.get_path("stdlib"))
    # A path that is absolute or relative to the working folder stays what it is.
    paths = [folder / name if (folder / name).exists() else Path(name) for name in text.validation_files]
    ends = np.cumsum([path.stat().st_size for path in paths])
    return np.split(text.validation, ends[:-1])


@functools.cache
def _corpus(path):
    ending = Path(path or "").suffix
    if ending == R_DATA:
        return load_novels(Path(path))
    if ending not in PACKED:
        return load_corpus([path] if path else ())
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / Path(path).stem
        try:
            unpacked.write_bytes(gzip.decompress(Path(path).read_bytes()))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"corpus: a file ending in {ending} must be whole and of gzip. Got {path}.") from error
        return load_corpus([unpacked])
