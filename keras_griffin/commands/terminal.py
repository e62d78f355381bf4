"""What a model writes, on its way to a terminal or a file."""

import sys
import unicodedata

#: What is invisible but harmless: the joiners hold emoji and the letters of some scripts together.
_HARMLESS = "\n\t\u200c\u200d"


def show(text: str) -> None:
    """Print a piece of text at once, as it is shown."""
    print(shown(text), end="", flush=True)


def shown(text: str) -> str:
    """The text as it is printed: bytes that are not UTF-8 become U+FFFD, in a terminal so do control characters."""
    # Bytes of the command line that are not UTF-8 come as surrogates.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return printable(text) if sys.stdout.isatty() else text


def printable(text: str) -> str:
    """The text with U+FFFD for what would move a terminal's cursor, change its colours or turn its direction."""
    return "".join(letter if _is_printable(letter) else "\ufffd" for letter in text)


def _is_printable(letter):
    # To Python, only the first of all spaces is printable.
    return letter.isprintable() or letter in _HARMLESS or unicodedata.category(letter) == "Zs"
