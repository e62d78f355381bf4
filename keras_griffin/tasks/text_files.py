"""Find text files, and count what was left out."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

#: A file is binary if one of its first bytes, up to this number, is zero, as in Git. UTF-16 and UTF-32 text is binary.
BINARY_BYTES = 8192
#: The kinds of entries that may be left out, in the order of the report: singular and plural.
_KINDS = {
    "binary": ("binary file", "binary files"),
    "run": ("folder that holds a run", "folders that hold a run"),
    "hidden": ("hidden", "hidden"),
    "link": ("link to a folder", "links to folders"),
    "broken": ("broken link", "broken links"),
    "other": ("neither file nor folder", "neither file nor folder"),
    "empty": ("empty file", "empty files"),
    "copy": ("copy of another file", "copies of other files"),
}


class CorpusError(ValueError):
    """The files can't serve as a corpus; the message is one sentence for the user."""


class LeftOut:
    """Counts of the entries left out, by kind; as text, such as `3 binary files (1.2 MB), 1 broken link`."""

    def __init__(self):
        self.counts: Counter[str] = Counter()
        self.binary_bytes = 0

    def add(self, kind: str, num_bytes: int = 0) -> None:
        """Count one more of this kind, with the bytes of a binary file."""
        self.counts[kind] += 1
        self.binary_bytes += num_bytes

    def __str__(self) -> str:
        sizes = {"binary": f" ({_size(self.binary_bytes)})"}
        found = [(kind, self.counts[kind]) for kind in _KINDS if self.counts[kind]]
        return ", ".join(f"{count:,} {_KINDS[kind][count > 1]}{sizes.get(kind, '')}" for kind, count in found)


def find_text_files(
    paths: Iterable[str | os.PathLike],
    left_out: LeftOut,
    *,
    speaker: str,
    include_binary: bool = False,
    holds_run: Callable[[Path], bool] = lambda folder: False,
) -> Iterator[Path]:
    """The text files at the paths, each folder's ordered by the parts of their paths; a CorpusError names bad paths.

    A file that is named is always included. Inside folders, the following are left out and counted: hidden files and
    folders, `__pycache__`, binary files, folders that hold a run, links to folders, which may form cycles, and entries
    that are neither files nor folders, which may be endless.
    """
    for path in map(Path, paths):
        # The functions of `os.path` treat an inaccessible path as missing.
        if os.path.isfile(path):
            yield path
        elif os.path.isdir(path):
            for file in files_below(path, left_out, speaker=speaker, holds_run=holds_run):
                num_bytes = 0 if include_binary else _bytes_if_binary(file, speaker)
                if num_bytes:
                    left_out.add("binary", num_bytes)
                else:
                    yield file
        elif os.path.exists(path):
            raise CorpusError(f"{speaker}: a path must be a file or a folder. Got {str(path)!r}, which is neither.")
        else:
            raise CorpusError(f"{speaker}: a path must exist. Got {str(path)!r}.")


def files_below(
    folder: Path,
    left_out: LeftOut,
    *,
    speaker: str,
    holds_run: Callable[[Path], bool] = lambda folder: False,
    is_wanted: Callable[[str], bool] = lambda name: not name.startswith(".") and name != "__pycache__",
) -> Iterator[Path]:
    """Every file inside a folder if its name, and each folder's on the way, is wanted; others are counted."""
    if holds_run(folder):
        left_out.add("run")
        return
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, "folder", error, speaker) from error
    for entry in entries:
        kind = _kind(entry, speaker) if is_wanted(entry.name) else "hidden"
        if kind == "folder":
            yield from files_below(entry, left_out, speaker=speaker, holds_run=holds_run, is_wanted=is_wanted)
        elif kind == "file":
            yield entry
        else:
            left_out.add(kind)


def read_file(path: Path, speaker: str) -> bytes:
    """The bytes of a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, "file", error, speaker) from error


def _kind(entry, speaker):
    try:
        if entry.is_dir():
            return "link" if entry.is_symlink() else "folder"
        if entry.is_file():
            return "file"
    except OSError as error:
        raise _unreadable(entry, "file", error, speaker) from error
    return "broken" if entry.is_symlink() and not entry.exists() else "other"


def _bytes_if_binary(path, speaker):
    """The size of a binary file, and 0 of any other."""
    try:
        with path.open("rb") as file:
            return max(os.fstat(file.fileno()).st_size, 1) if b"\0" in file.read(BINARY_BYTES) else 0
    except OSError as error:
        raise _unreadable(path, "file", error, speaker) from error


def _unreadable(path, kind, error, speaker):
    return CorpusError(f"{speaker}: a {kind} must be readable. Got {str(path)!r}: {error.strerror}.")


def _size(num_bytes):
    """A size such as `1.2 MB`."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= factor:
            return f"{num_bytes / factor:,.1f} {unit}"
    return f"{num_bytes} byte{'s' if num_bytes != 1 else ''}"
