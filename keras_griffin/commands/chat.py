"""The command `chat`; what it is for, and its options, stand in `options/chat.py`."""

import argparse
import contextlib
import io
import signal
import sys

from keras_griffin.commands.errors import INTERRUPTED, CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.generate import make_sampler
from keras_griffin.commands.kernels import requests, tell_unused
from keras_griffin.commands.load_model import load_text_model
from keras_griffin.commands.talk import Talk
from keras_griffin.commands.terminal import show
from keras_griffin.generation import load_state, save_state
from keras_griffin.ops.implementation import recorded_choices
from keras_griffin.training.interruption import noted_signals

HELP = """\
/state       what the model keeps of the talk
/save FILE   keep it in a file
/load FILE   go on with the talk that is in a file
/new         begin another talk
/help        this
Ctrl-C       cut an answer short, or leave
Ctrl-D       leave"""


def run(arguments: argparse.Namespace) -> int:
    """Load the model and talk until there is no more input."""
    asked = requests()
    model = load_text_model("chat", arguments.model, arguments.dtype, adapter=arguments.adapter)
    if asked:
        # What can't serve is told before the talk begins.
        with refusals(), recorded_choices() as choices:
            model.generate([[0, 0]], 1)
        tell_unused(asked, choices)
    talk = Talk(model, arguments.tokens, make_sampler(arguments), arguments.seed)
    # The bytes of a file may not be UTF-8; the tokenizer has the say.
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    is_terminal = sys.stdin.isatty()
    prompt = "> " if is_terminal and sys.stdout.isatty() else ""
    if is_terminal:
        # Importing it gives `input` line editing and a history, where the system has it.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
    try:
        while True:
            # A file's lines may end as on Windows.
            take_turn(talk, input(prompt).removesuffix("\r"), is_terminal)
    except EOFError:
        if prompt:
            print()
        return 0
    except KeyboardInterrupt:
        print()
        return INTERRUPTED


def take_turn(talk: Talk, line: str, is_terminal: bool) -> None:
    """Do what a line of input asks for; what can't be done is said in a sentence.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed twice, or where nobody sits who could go on.
    """
    try:
        if line.startswith("/"):
            print(obey(talk, line))
        elif line.strip():
            print_answer(talk, line, is_terminal)
    except CommandError as error:
        print(error, file=sys.stderr)


def obey(talk: Talk, line: str) -> str:
    """What a command such as `/state` says.

    Raises:
        CommandError: there is no such command, or its file can't be written or read.
    """
    match line.split(maxsplit=1):
        case ["/state"]:
            return repr(talk.state)
        case ["/save", file_name]:
            with refusals_of_the_file(file_name.strip()):
                save_state(talk.at_the_end_of_a_turn(), file_name.strip())
            return "Saved."
        case ["/load", file_name]:
            with refusals_of_the_file(file_name.strip()):
                talk.resume(load_state(file_name.strip()))
            return "Loaded."
        case ["/save" | "/load" as command]:
            raise CommandError(f"chat: {command} must be followed by the name of a file. Got none.")
        case ["/new"]:
            talk.start_anew()
            return "A new talk."
        case ["/help"]:
            return HELP
    raise CommandError(
        "chat: a line that begins with / must be a command, which /help lists; with a space in front it is a message. "
        f"Got {line!r}."
    )


@contextlib.contextmanager
def refusals_of_the_file(name: str):
    """Inside the `with` block, a file that can't be had, or that holds something else, is the user's to put right."""
    with refusals(), refusals_of_the_disk("chat", "the file must be one that can be read or written", name):
        yield


def print_answer(talk: Talk, message: str, is_terminal: bool) -> None:
    """Print the answer as it is made, and a line break after it; Ctrl-C cuts it."""
    shown = ""
    # A token is written to its end, so that the state is whole.
    with noted_signals(None, signal.SIGINT) as noted:
        with refusals():
            pieces = talk.answer(message)
        for piece in pieces:
            show(piece)
            shown = piece or shown
            if noted.received:
                break
    if noted.received and not is_terminal:
        raise KeyboardInterrupt
    if not shown.endswith("\n"):
        print()
