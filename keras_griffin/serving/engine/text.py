"""The text of an answer, as far as it is certain."""

from keras_griffin.tokenizers import Tokenizer
from keras_griffin.tokenizers.incremental_decoder import IncrementalDecoder


class AnswerText:
    """Whole characters of an answer, up to a stop string or the end of its first line that is not empty.

    Text that a stop string may begin with waits until that is decided.
    """

    def __init__(self, tokenizer: Tokenizer, stop_strings: tuple[str, ...], is_line: bool, *, is_first: bool):
        self._decoder = IncrementalDecoder(tokenizer, is_first=is_first)
        self._stop_strings, self._is_line = stop_strings, is_line
        self._has_words = self._is_ended = False
        self._waiting = ""

    def push(self, token_id: int) -> tuple[str, bool]:
        """The text that is certain after this token, and whether the answer ends with it."""
        text = self._certain(self._decoder.push(token_id))
        return text, self._is_ended

    def flush(self) -> str:
        """The rest, at the end of the answer."""
        return "" if self._is_ended else self._certain(self._decoder.flush()) + self._waiting

    def _certain(self, piece):
        text = self._waiting + piece
        ends = [place for stop in self._stop_strings if (place := text.find(stop)) >= 0]
        if self._is_line and (line := self._line(text)) is not None:
            ends.append(line)
        if ends:
            self._is_ended, self._waiting = True, ""
            return text[: min(ends)]
        held = max((_overlap(text, stop) for stop in self._stop_strings), default=0)
        certain, self._waiting = text[: len(text) - held], text[len(text) - held :]
        self._has_words = self._has_words or bool(certain.strip())
        return certain

    def _line(self, text):
        """Where the first line that is not empty ends, if it does."""
        start = 0 if self._has_words else len(text) - len(text.lstrip())
        place = text.find("\n", start)
        return place if place >= 0 and (self._has_words or start < place) else None


def _overlap(text, stop):
    """How many characters at the end of a text begin a stop string."""
    lengths = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
