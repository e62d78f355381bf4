"""How a command refuses: one sentence, no traceback."""

import contextlib

#: The exit codes of a command that refused, of one that Ctrl-C ended, and of one whose output nobody reads on.
REFUSED = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


class CommandError(Exception):
    """What the user asked for can't be done; the message is one sentence, and the exit code 2."""


@contextlib.contextmanager
def refusals():
    """Inside the `with` block, what the library refuses is the user's to put right."""
    try:
        yield
    except ValueError as error:
        raise CommandError(str(error)) from error
