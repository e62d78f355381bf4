"""What of an answer is certain, token by token."""

import pytest

from keras_griffin.serving.engine.text import AnswerText
from keras_griffin.tokenizers import ByteTokenizer

pytestmark = pytest.mark.any_backend


def pieces(text, stop_strings=(), is_line=False):
    """What each byte of a text makes certain, up to its end."""
    answer = AnswerText(ByteTokenizer(), stop_strings, is_line, is_first=True)
    found = []
    for byte in text.encode("utf-8", "surrogateescape"):
        piece, is_ended = answer.push(byte)
        found.append(piece)
        if is_ended:
            return found, True
    return [*found, answer.flush()], False


@pytest.mark.parametrize(
    "text, stop_strings, is_line, said, is_ended",
    [
        ("hello", (), False, "hello", False),
        ("hello STOP you", ("STOP",), False, "hello ", True),
        ("aab", ("ab",), False, "a", True),
        ("a SO", ("STOP",), False, "a SO", False),
        ("a ST", ("STOP",), False, "a ST", False),
        # The one that is found first, and the earlier of two that end together.
        ("one two", ("two", "ne"), False, "o", True),
        ("xyz", ("yz", "xyz"), False, "", True),
        ("über, é", ("é",), False, "über, ", True),
        ("\n \nword and\nmore", (), True, "\n \nword and", True),
        ("\n\n", (), True, "\n\n", False),
        ("a line\n", ("z",), True, "a line", True),
        ("stop\n", ("p\n",), True, "sto", True),
    ],
)
def test_an_answer_ends_before_a_stop_string_or_after_a_line(text, stop_strings, is_line, said, is_ended):
    found, ended = pieces(text, stop_strings, is_line)
    assert ("".join(found), ended) == (said, is_ended)


def test_what_may_begin_a_stop_string_waits():
    assert pieces("a<en", ("<end>",))[0] == ["a", "", "", "", "<en"]


def test_characters_are_whole():
    assert pieces("aé\udcff")[0] == ["a", "", "é", "�", ""]
