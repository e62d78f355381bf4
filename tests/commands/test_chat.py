import io
import signal

import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands import chat
from keras_griffin.tokenizers.chat import find_end_of_turn

pytestmark = pytest.mark.any_backend


class Lines(io.StringIO):
    """Input, from a terminal or not; an error among the lines is raised."""

    def __init__(self, lines, is_terminal):
        super().__init__()
        self._lines = iter(lines)
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal

    def readline(self, size=-1):
        line = next(self._lines, "")
        if isinstance(line, BaseException):
            raise line
        return line


class Screen(io.StringIO):
    """Output, to a terminal or not."""

    def __init__(self, is_terminal):
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal


@pytest.fixture
def lead(use_model, monkeypatch, capsys):
    """Talk with a model: exit code, output, and what stands on stderr. The input is lines, or bytes from a file."""

    def lead(model, sampler, *lines, is_terminal=False, to_file=False, stdin=None):
        use_model(model, sampler)
        monkeypatch.setattr("sys.stdin", stdin or Lines(lines, is_terminal))
        screen = Screen(is_terminal and not to_file)
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", screen)
            code = main(["chat", "--model", "any", "--tokens", "3"])
        return code, screen.getvalue(), capsys.readouterr().err

    return lead


def test_the_model_of_the_package_answers(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n/state\n"))
    options = ["--tokens", "4", "--dtype", "bfloat16", "--temperature", "0", "--seed", "1"]
    assert main(["chat", "--model", "python_tiny", *options]) == 0
    printed = capsys.readouterr()
    assert "\nLanguageModelState: 1 rows, 6 layers, " in printed.out and not printed.err


@pytest.mark.parametrize(
    ("lines", "options", "code", "output"),
    [
        # Of input that is no terminal each line is a message; a terminal is asked until Ctrl-D or Ctrl-C.
        (["hello\n", "\n", "  \n", "world"], {}, 0, "aaa\naaa\n"),
        (["hello\n", "\n", " \n", "world\n"], {"is_terminal": True}, 0, "> aaa\n> > > aaa\n> \n"),
        (["hello\n", KeyboardInterrupt()], {"is_terminal": True}, 130, "> aaa\n> \n"),
        # A file gets answers alone.
        (["hello\n"], {"is_terminal": True, "to_file": True}, 0, "aaa\n"),
    ],
)
def test_messages_are_read_to_the_end_of_the_input(byte_model, says, lead, lines, options, code, output):
    assert lead(byte_model, says(97), *lines, **options) == (code, output, "")


def press_ctrl_c(monkeypatch, *, at_piece, times=1):
    """Press Ctrl-C when so many pieces of an answer have been shown, and in later answers no more."""
    show, pieces = chat.show, []

    def show_and_press(piece):
        show(piece)
        pieces.append(piece)
        if len(pieces) == at_piece:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(chat, "show", show_and_press)


def test_ctrl_c_cuts_an_answer_and_the_talk_goes_on(byte_model, says, lead, monkeypatch):
    press_ctrl_c(monkeypatch, at_piece=2)
    before = signal.getsignal(signal.SIGINT)
    code, output, errors = lead(byte_model, says(97), "x\n", "/state\n", "y\n", "/state\n", is_terminal=True)
    assert signal.getsignal(signal.SIGINT) is before
    output = output.split("\n")
    assert (code, errors, output[0], output[2]) == (0, "", "> aa", "> aaa")
    # x and a line break, and two letters; then a line break after what was cut, y and a line break, and three letters.
    assert output[1].endswith("tokens seen: 4") and output[3].endswith("tokens seen: 10")


def test_ctrl_c_twice_ends_the_talk(byte_model, says, lead, monkeypatch):
    press_ctrl_c(monkeypatch, at_piece=2, times=2)
    assert lead(byte_model, says(97), "x\n", "y\n", is_terminal=True) == (130, "> aa\n", "")


def test_an_answer_may_end_its_line_itself(byte_model, says, lead):
    # Line breaks alone are no answer, up to the limit.
    assert lead(byte_model, says(10), "x\n", "y\n") == (0, "\n\n\n\n\n\n", "")


def test_a_message_with_marks_of_turns_gets_a_sentence_and_the_talk_goes_on(gemma_model, says, lead):
    sampler = says(find_end_of_turn(gemma_model.tokenizer))
    code, output, errors = lead(gemma_model, sampler, "a<end_of_turn>\n", "hello\n", "<start_of_turn>\n", "hello\n")
    assert (code, output) == (0, "\n\n")
    assert errors == (
        "keras_griffin chat: a message must not contain <end_of_turn>. Got 'a<end_of_turn>' from 'user'.\n"
        "keras_griffin chat: a message must not contain <start_of_turn>. Got '<start_of_turn>' from 'user'.\n"
    )


def test_commands(byte_model, says, lead):
    code, output, errors = lead(byte_model, says(97), "/state\n", "a\n", "/state \n", "/new\n", "/state\n", "/help\n")
    states = [line.partition("; ")[2] for line in output.splitlines() if line.startswith("LanguageModelState: 1 rows")]
    assert (code, errors) == (0, "")
    assert states == ["tokens seen: 0", "tokens seen: 5", "tokens seen: 0"]
    assert "\nNew conversation.\n" in output and output.endswith(chat.HELP + "\n")


def test_a_talk_is_saved_and_loaded(byte_model, says, lead, tmp_path):
    """An answer that was cut gets its end there."""
    path = tmp_path / "a talk"
    assert lead(byte_model, says(97), "a\n", f"/save {path} \n") == (0, "aaa\nSaved.\n", "")
    code, output, errors = lead(byte_model, says(97), f"/load {path}\n", "/state\n", "b\n", "/state\n")
    loaded, first, answer, second = output.splitlines()
    assert (code, errors, loaded, answer) == (0, "", "Loaded.", "aaa")
    assert first.endswith("tokens seen: 6") and second.endswith("tokens seen: 11")


def test_saving_replaces_no_file_but_the_conversations_own(byte_model, says, lead, tmp_path):
    path, other = tmp_path / "a talk", tmp_path / "model.keras"
    other.write_text("mine")
    code, output, errors = lead(byte_model, says(97), f"/save {path}\n", "a\n", f"/save {path}\n", f"/save {other}\n")
    assert (code, output, other.read_text()) == (0, "Saved.\naaa\nSaved.\n", "mine")
    rule = "keras_griffin chat: /save must name a new file, or the one that holds this conversation. Got "
    assert errors == f"{rule}'{other}', which exists.\n"
    # Another conversation is not overwritten, unless it is continued.
    lines = [f"/save {path}\n", f"/load {path}\n", f"/save {path}\n", "/new\n", f"/save {path}\n"]
    code, output, errors = lead(byte_model, says(97), *lines)
    assert output == "Loaded.\nSaved.\nNew conversation.\n"
    assert errors == f"{rule}'{path}', which exists.\n" * 2


def test_a_file_that_can_not_be_had_gets_a_sentence_and_the_talk_goes_on(byte_model, says, lead, tmp_path):
    (tmp_path / "text").write_text("hello")
    lines = [f"/load {tmp_path}/none\n", f"/load {tmp_path}/text\n", f"/save {tmp_path}/no/folder\n", "a\n"]
    code, output, errors = lead(byte_model, says(97), *lines)
    none, text, folder = errors.splitlines()
    assert (code, output) == (0, "aaa\n")
    rule = "keras_griffin chat: the file must be one that can be read or written. Got"
    assert none == f"{rule} '{tmp_path}/none': No such file or directory."
    assert text.startswith("keras_griffin chat: the file must be a valid safetensors file. ")
    assert folder == f"{rule} '{tmp_path}/no/folder': No such file or directory."


@pytest.mark.parametrize("line", ["/stat", "/usr/bin", "/", "/state of it"])
def test_what_is_no_command_is_refused_and_not_read(byte_model, says, lead, line):
    code, output, errors = lead(byte_model, says(97), line + "\n", " " + line + "\n", "/state\n")
    assert (code, errors) == (
        0,
        "keras_griffin chat: a line that begins with / must be a command that /help lists; to send it as a message, "
        f"put a space before it. Got {line!r}.\n",
    )
    assert output.startswith("aaa\n") and output.endswith(f"tokens seen: {len(line) + 5}\n")


@pytest.mark.parametrize("command", ["/save", "/load"])
def test_a_command_that_wants_a_file_says_so(byte_model, says, lead, command):
    code, output, errors = lead(byte_model, says(97), f"{command}\n", f"{command} \n", "a\n")
    assert (code, output) == (0, "aaa\n")
    assert errors == f"keras_griffin chat: {command} must be followed by the name of a file. Got none.\n" * 2


def test_bytes_that_are_not_utf_8_are_the_tokenizers(byte_model, gemma_model, says, lead):
    """A model of bytes reads them; others say that they don't."""
    for model, output, errors in [(byte_model, "aaa\n", 0), (gemma_model, "", 1)]:
        stdin = io.TextIOWrapper(io.BytesIO(b"\xff\n"), "utf-8")
        code, printed, error = lead(model, says(97), stdin=stdin)
        assert (code, printed, error.count("surrogate")) == (0, output, errors)


def test_an_implementation_that_is_not_used_is_told(byte_model, says, lead, monkeypatch):
    monkeypatch.setenv("KERAS_GRIFFIN_LINEAR_CROSS_ENTROPY", "portable")
    code, output, errors = lead(byte_model, says(97), "x\n")
    assert (code, output) == (0, "aaa\n")
    assert errors.startswith("Not used: KERAS_GRIFFIN_LINEAR_CROSS_ENTROPY=portable: the model ")
    assert errors.count("\n") == 1
