import io

import pytest

from keras_griffin.commands.shared.terminal import printable, show, shown

pytestmark = pytest.mark.any_backend


class Terminal(io.StringIO):
    """A terminal, which counts how often it is told to show what it has."""

    flushes = 0

    def isatty(self):
        return True

    def flush(self):
        self.flushes += 1


def test_a_terminal_is_spared_control_characters():
    assert printable("a\tb\n\x1b[31mc\x08\r\x9b") == "a\tb\n\ufffd[31mc\ufffd\ufffd\ufffd"
    # Text that turns its direction could show other words than are there.
    assert printable("\u202eabc") == "\ufffdabc"


@pytest.mark.parametrize("text", ["\u3000本\xa0", "\N{WOMAN}\u200d\N{ROCKET}", "می\u200cخواهم", "e\u0301", "☃\ufe0f"])
def test_spaces_and_joiners_are_letters_like_others(text):
    assert printable(text) == text


def test_a_file_gets_what_was_written(capsys):
    show("a\x1b[31m\n")
    assert capsys.readouterr().out == "a\x1b[31m\n"


def test_a_terminal_gets_each_piece_at_once(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    show("a")
    show("\x1b")
    assert (terminal.getvalue(), terminal.flushes) == ("a\ufffd", 2)


def test_bytes_that_are_not_utf_8_are_shown_as_such():
    assert shown("a\udcff\N{SNOWMAN}") == "a\ufffd\N{SNOWMAN}"
