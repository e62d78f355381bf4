"""Write text to a file of token ids, for training on more text than fits into memory.

FILES are text files, or folders of text files. Inside folders, the following are left out and
counted: hidden files and folders, __pycache__, binary files (with a zero byte among their first
8192), folders that hold a run of train, and links to folders. Each file is a document, or with
--lines each line, without its line break; empty documents are left out. Without --tokenizer the
tokens are the files' bytes, in any encoding.

With --shards the result is a folder of files, each written by a process of its own; they have the
documents in the same order as one file. keras_griffin.training.TokenFile reads either as one.

The file or folder is replaced atomically: Ctrl-C and SIGTERM leave nothing behind; SIGKILL leaves a
hidden folder .FILE.partial-* next to it, which can be removed once nothing is writing there.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from keras_griffin.commands.shared.errors import CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.shared.options import add_files, add_number, add_output
from keras_griffin.commands.shared.outputs import check_new_file, check_new_folder
from keras_griffin.commands.shared.terminal import bytes_of_files, print_rows
from keras_griffin.commands.shared.token_shards import NO_TEXT, write_shards

#: How often the progress line is updated, in seconds, and its width.
_PERIOD, _WIDTH = 0.2, 50
_DISK = "files must be readable, and --output writable, on a disk with enough space"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_files(parser, "+")
    text = "the file to write, such as some.tokens"
    add_output(parser, "FILE", text, "FILE if it exists", required=True)
    text = (
        "a folder with a tokenizer, such as a preset or a released model, or tokenizer.json or tokenizer.model itself "
        "(default: bytes)"
    )
    parser.add_argument("--tokenizer", metavar="PATH", help=text)
    parser.add_argument("--lines", action="store_true", help="make each line a document, instead of each file")
    parser.add_argument("--stop", action="store_true", help="end each document with the tokenizer's first stop id")
    add_number(parser, "--shards", 1, "with more than one, --output is a folder of N files, written by N processes")


def run(arguments: argparse.Namespace) -> int:
    """Write the file, showing progress on a terminal, and print a summary."""
    from keras_griffin.commands.shared.load import load_named_tokenizer
    from keras_griffin.tasks.text_files import LeftOut
    from keras_griffin.training import TokenFile, write_token_file
    from keras_griffin.training.interruption import noted_signals

    tokenizer = load_named_tokenizer("tokenize", arguments.tokenizer)
    if arguments.stop and not tokenizer.stop_ids:
        raise CommandError(f"tokenize: --stop needs a tokenizer that has a stop id. Got {tokenizer!r}, which has none.")
    left_out = LeftOut()
    paths = text_files(arguments.files, left_out, arguments.include_binary)
    if os.path.realpath(arguments.output) in map(os.path.realpath, paths):
        raise CommandError(f"tokenize: --output must not be one of FILES. Got {arguments.output!r}, which is.")
    is_one = arguments.shards == 1
    check = check_new_file if is_one else check_new_folder
    check("tokenize", arguments.output, arguments.overwrite, "--output")
    sizes = [path.stat().st_size for path in paths]
    progress = Progress(sum(sizes))
    sentence = f"Stopping{' after this document' * is_one}; a second signal stops at once."
    try:
        with refusals(), refusals_of_the_disk("tokenize", _DISK), noted_signals(sentence, signal.SIGTERM) as noted:
            if is_one:
                whole: Part = [(path, 0, None) for path in paths]
                texts = refuse_none(documents(tokenizer, whole, arguments, progress.add, noted))
                write_token_file(arguments.output, texts, tokenizer=tokenizer)
            else:
                write_shards(write_part, divided(paths, sizes, arguments.shards), arguments, progress.add, noted)
    finally:
        progress.clear()
    print_rows(describe(TokenFile(arguments.output), len(paths), progress, left_out))
    return 0


def text_files(paths: Sequence[str], left_out, include_binary: bool) -> list[Path]:
    """The text files at the paths, at least one, those of a folder ordered by the parts of their paths."""
    from keras_griffin.commands.shared.runs import holds_run
    from keras_griffin.tasks.text_files import find_text_files

    for path in paths:
        # An empty name would be the current folder.
        if not path or not (os.path.isfile(path) or os.path.isdir(path)):
            raise CommandError(f"tokenize: FILES must be files and folders that exist. Got {path!r}.")
    with refusals():
        found = list(
            find_text_files(paths, left_out, speaker="tokenize", include_binary=include_binary, holds_run=holds_run)
        )
    if not found:
        source = f"{', '.join(paths)}, leaving out {left_out}" if str(left_out) else ", ".join(paths)
        raise CommandError(f"tokenize: FILES must contain a text file. Got none in {source}.")
    return found


#: A part of the text: files, and in each the bytes in which its documents begin, to the end if the last is None.
Part = list[tuple[Path, int, int | None]]


def divided(paths: Sequence[Path], sizes: Sequence[int], count: int) -> list[Part]:
    """The files in so many parts of about as many bytes."""
    bounds = [sum(sizes) * number // count for number in range(count + 1)]
    parts: list[Part] = [[] for _ in range(count)]
    start = 0
    for path, size in zip(paths, sizes, strict=True):
        for part, low, high in zip(parts, bounds[:-1], bounds[1:], strict=True):
            if max(low, start) < min(high, start + size):
                part.append((path, max(low - start, 0), high - start if high < start + size else None))
        start += size
    return parts


def read_files(part: Part, add: Callable[[int, int], None]) -> Iterator[tuple[Path, None, bytes]]:
    """The bytes of each file that begins in the part and is not empty."""
    from keras_griffin.tasks.text_files import read_file

    for path, begin, _ in part:
        if begin == 0:
            text = read_file(path, "tokenize")
            if text:
                yield path, None, text
            add(len(text), len(text))


def read_lines(part: Part, add: Callable[[int, int], None]) -> Iterator[tuple[Path, int, bytes]]:
    """The place and bytes of each line that begins in the part and is not empty, without its line break."""
    for path, begin, stop in part:
        with path.open("rb") as file:
            if begin:
                # The rest of a line that begins in the part before, or only its line break.
                file.seek(begin - 1)
                begin += len(file.readline()) - 1
            for line in file:
                if stop is not None and begin >= stop:
                    break
                text = line.rstrip(b"\r\n")
                if text:
                    yield path, begin, text
                begin += len(line)
                add(len(line), len(text))


def write_part(path: Path, part: Part, arguments: argparse.Namespace, add: Callable[[int, int], None]) -> None:
    """Write one of several files, in a process of its own."""
    from keras_griffin.commands.shared.load import load_named_tokenizer
    from keras_griffin.training import write_token_file

    with refusals(), refusals_of_the_disk("tokenize", _DISK):
        tokenizer = load_named_tokenizer("tokenize", arguments.tokenizer)
        write_token_file(path, documents(tokenizer, part, arguments, add), tokenizer=tokenizer)


def documents(tokenizer, part: Part, arguments: argparse.Namespace, add, noted=None) -> Iterator:
    """The ids of each text of a part, until a signal arrives: between two the partial output can be removed."""
    stop = list(tokenizer.stop_ids[:1]) if arguments.stop else []
    for path, place, text in (read_lines if arguments.lines else read_files)(part, add):
        ids = token_ids(tokenizer, path, place, text, stop)
        if noted is not None and noted.received is not None:
            noted.end()
        yield ids


def refuse_none(documents: Iterable) -> Iterator:
    """The same documents, of which there must be one."""
    is_empty = True
    for document in documents:
        is_empty = False
        yield document
    if is_empty:
        raise CommandError(NO_TEXT)


def token_ids(tokenizer, path: Path, place: int | None, text: bytes, stop: list[int]):
    """The ids `(T,)` of a text, followed by `stop`; the text must be UTF-8 if the tokenizer reads characters."""
    import numpy as np

    from keras_griffin.tokenizers import ByteTokenizer

    if isinstance(tokenizer, ByteTokenizer):
        return np.frombuffer(text, "uint8")
    try:
        characters = text.decode("utf-8")
    except UnicodeDecodeError as error:
        name = path if place is None else f"{path}, line {line_number(path, place)}"
        raise CommandError(
            f"tokenize: a text must be UTF-8 unless the tokens are bytes. Got {name}, with an invalid byte at "
            f"{error.start}."
        ) from error
    return np.array(tokenizer.encode(characters) + stop)


def line_number(path: Path, place: int) -> int:
    """The number, from 1, of the line that begins at a byte of a file."""
    with path.open("rb") as file:
        return 1 + sum(1 for _ in takewhile(lambda _: file.tell() <= place, file))


def describe(file, num_files: int, progress: "Progress", left_out) -> dict[str, str]:
    """A summary of the input and the file."""
    bytes_per_token = progress.of_text / max(file.num_tokens, 1)
    sizes = [each.path.stat().st_size for each in file.shards or [file]]
    size = f"{len(sizes):,} files, " * bool(file.shards) + f"{sum(sizes):,} bytes"
    return {
        "read": f"{bytes_of_files(progress.done, num_files)}, {progress.rate()}",
        **({"left out": str(left_out)} if str(left_out) else {}),
        "documents": f"{len(file):,}",
        "tokens": f"{file.num_tokens:,} of a vocabulary of {file.vocabulary_size:,}, {bytes_per_token:.2f} bytes each",
        "written": f"{file.path}, {size}, in {file.dtype.name}",
    }


class Progress:
    """The share of `total` bytes that are read, and the speed: a line on standard error, if that is a terminal."""

    def __init__(self, total: int):
        self.total = total
        self.done = self.of_text = 0
        self._started = time.perf_counter()
        self._shown = 0.0

    def add(self, num_bytes: int, of_text: int) -> None:
        """Count bytes read, and how many of them are in documents."""
        self.done += num_bytes
        self.of_text += of_text
        now = time.perf_counter()
        if sys.stderr.isatty() and now - self._shown >= _PERIOD:
            self._shown = now
            self._write(f"{self.done / max(self.total, 1):4.0%} of {self.total / 1e6:,.1f} MB, {self.rate()}")

    def rate(self) -> str:
        """The speed, such as `12.3 MB/s`."""
        return f"{self.done / 1e6 / max(time.perf_counter() - self._started, 1e-6):,.1f} MB/s"

    def clear(self) -> None:
        """Erase the line."""
        if self._shown:
            self._write("", end="\r")

    def _write(self, line, end=""):
        print(f"\r{line:<{_WIDTH}}", end=end, file=sys.stderr, flush=True)
