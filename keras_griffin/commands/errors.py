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
        raise CommandError(_sentence(error)) from error


@contextlib.contextmanager
def refusals_of_the_disk(command: str, rule: str, name: str | None = None):
    """Inside the `with` block, a file that can't be written or read, as on a full disk, gets `disk_refusal`."""
    try:
        yield
    except OSError as error:
        raise disk_refusal(command, rule, error, name) from error


def disk_refusal(command: str, rule: str, error: OSError, name: str | None = None) -> CommandError:
    """What a command says of a file that can't be written or read.

    Args:
        command: in whose name it speaks.
        rule: what must be.
        error: what the system said.
        name: of the file, as the user gave it; None for what the system said of it.

    Raises:
        BrokenPipeError: it is this one, which is of no file.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    # What the library says beside, the command says in its own way.
    error = error.__context__ if isinstance(error.__context__, OSError) else error
    if name is not None and error.strerror:
        return CommandError(f"{command}: {rule}. Got {name!r}: {error.strerror}.")
    # HDF5 says it in several lines.
    return CommandError(f"{command}: {rule}. Got {' '.join(_sentence(error).split())}.")


def _sentence(error: BaseException) -> str:
    """What was said first: on the way up, Keras and TensorFlow frame it with calls, arguments and places."""
    while error.__context__ is not None and _words(error.__context__) and _words(error.__context__) in _words(error):
        error = error.__context__
    return str(error)


def _words(error):
    """Without line breaks and indents, which TensorFlow adds."""
    return " ".join(str(error).split())
