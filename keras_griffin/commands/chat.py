"""Chat with a model.

The whole conversation is one state of constant size, and the model reads each token once: turn 1000
takes as much time and memory as turn 1, and older turns are remembered as far as they fit into the
state. (With global attention the model keeps every token, and its state grows.)

If the vocabulary has Gemma's turn markers, messages are formatted as for Gemma's instruction-tuned
models. Any other model reads your message as a line of text, and its answer ends with the first
non-empty line that it writes.

Ctrl-C cuts an answer short; at the prompt, Ctrl-C or Ctrl-D quits. /help lists the commands. If the
input is not a terminal, each line is a message, and only the answers are printed.
"""

import argparse
import contextlib
import io
import os
import signal
import sys

from keras_griffin.commands.explain import requests_checked
from keras_griffin.commands.generate import make_sampler
from keras_griffin.commands.shared.errors import INTERRUPTED, CommandError, refusals, refusals_of_the_disk, said
from keras_griffin.commands.shared.options import add_model, add_number, add_sampling, seed
from keras_griffin.commands.shared.terminal import show

HELP = """\
/state       show the model's state of the conversation
/save FILE   save the conversation to a file
/load FILE   resume the conversation saved in a file
/new         start a new conversation
/help        show this help
Ctrl-C       cut an answer short, or quit
Ctrl-D       quit"""
FILE_RULE = "the file must be one that can be read or written"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_model(parser)
    add_number(parser, "--tokens", 500, "maximum per answer")
    add_sampling(parser)
    text = "make the conversation repeatable (default: a fresh seed)"
    parser.add_argument("--seed", type=seed, metavar="N", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Load the model and answer until the input ends."""
    from keras_griffin.commands.shared.conversation import Conversation
    from keras_griffin.commands.shared.load import keep_programs, load_text_model

    keep_programs("chat")
    with refusals(), requests_checked() as asked:
        model = load_text_model("chat", arguments.model, arguments.dtype, adapter=arguments.adapter)
        if asked:
            # A kernel that can't be used is reported before the conversation starts.
            model.generate([[0, 0]], 1)
    conversation = Conversation(model, arguments.tokens, make_sampler(arguments), arguments.seed)
    # Input from a file may not be UTF-8; the tokenizer decides whether to accept it.
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    is_terminal = sys.stdin.isatty()
    prompt = "> " if is_terminal and sys.stdout.isatty() else ""
    if is_terminal:
        # Importing it gives `input` line editing and a history, if the system has it.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
    try:
        while True:
            # The lines of a file may have Windows endings.
            take_turn(conversation, input(prompt).removesuffix("\r"), is_terminal)
    except EOFError:
        if prompt:
            print()
        return 0
    except KeyboardInterrupt:
        print()
        return INTERRUPTED


def take_turn(conversation, line: str, is_terminal: bool) -> None:
    """Run a line of input, a command or a message; an error is printed as one sentence."""
    try:
        if line.startswith("/"):
            print(obey(conversation, line))
        elif line.strip():
            print_answer(conversation, line, is_terminal)
    except CommandError as error:
        print(said("chat", error), file=sys.stderr)


def obey(conversation, line: str) -> str:
    """Run a command such as `/state` and return its output."""
    match line.split(maxsplit=1):
        case ["/state"]:
            return repr(conversation.state)
        case ["/save", name]:
            path = os.path.realpath(name.strip())
            if os.path.exists(path) and path != conversation.file:
                raise CommandError(
                    "chat: /save must name a new file, or the one that holds this conversation. "
                    f"Got {name.strip()!r}, which exists."
                )
            with refusals(), refusals_of_the_disk("chat", FILE_RULE, name.strip()):
                conversation.save(path)
            return "Saved."
        case ["/load", name]:
            with refusals(), refusals_of_the_disk("chat", FILE_RULE, name.strip()):
                conversation.load(name.strip())
            return "Loaded."
        case ["/save" | "/load" as command]:
            raise CommandError(f"chat: {command} must be followed by the name of a file. Got none.")
        case ["/new"]:
            conversation.start_anew()
            return "New conversation."
        case ["/help"]:
            return HELP
    raise CommandError(
        "chat: a line that begins with / must be a command that /help lists; to send it as a message, put a space "
        f"before it. Got {line!r}."
    )


def print_answer(conversation, message: str, is_terminal: bool) -> None:
    """Print the answer as it is generated, then a line break; Ctrl-C cuts it short, or ends a chat from a file."""
    from keras_griffin.training.interruption import noted_signals

    shown = ""
    # A token is always finished, so that the state stays consistent.
    with noted_signals(None, signal.SIGINT) as noted:
        with refusals():
            pieces = conversation.answer(message)
        for piece in pieces:
            show(piece)
            shown = piece or shown
            if noted.received:
                break
    if noted.received and not is_terminal:
        raise KeyboardInterrupt
    if not shown.endswith("\n"):
        print()
