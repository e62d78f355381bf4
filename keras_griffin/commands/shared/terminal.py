"""Print text to a terminal or a file."""

import os
import shlex
import sys
import unicodedata
from collections.abc import Mapping

from keras_griffin.program import is_command_line

#: Invisible but harmless: the joiners connect emoji and the letters of some scripts.
_HARMLESS = "\n\t\u200c\u200d"


def command(*words: str) -> str:
    """A command to type; it names the program as this process was called, and the backend if the environment does."""
    import keras

    called = sys.orig_argv[0] if is_command_line() else "python"
    chosen = [f"KERAS_BACKEND={keras.backend.backend()}"] if os.environ.get("KERAS_BACKEND") else []
    return " ".join([*chosen, shlex.quote(called), "-m", "keras_griffin", *map(shlex.quote, words)])


def print_rows(rows: Mapping[str, str]) -> None:
    """Print labels and texts in two columns."""
    for label, text in rows.items():
        print(f"{label:<12} {text}", flush=True)


def bytes_of_files(num_bytes: int, num_files: int) -> str:
    """A size such as `12,345 bytes of 3 files`."""
    return f"{num_bytes:,} bytes of {num_files:,} file{'s' if num_files > 1 else ''}"


def show(text: str) -> None:
    """Print a piece of text, made printable, and flush."""
    print(shown(text), end="", flush=True)


def shown(text: str) -> str:
    """The text as printed: bytes that are not UTF-8 become U+FFFD, and so do control characters on a terminal."""
    # Command-line bytes that are not UTF-8 arrive as surrogates.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return printable(text) if sys.stdout.isatty() else text


def printable(text: str) -> str:
    """The text with U+FFFD for characters that move a terminal's cursor or change its colours or text direction."""
    return "".join(letter if _is_printable(letter) else "\ufffd" for letter in text)


def _is_printable(letter):
    # Of all spaces, `isprintable` accepts only U+0020.
    return letter.isprintable() or letter in _HARMLESS or unicodedata.category(letter) == "Zs"
