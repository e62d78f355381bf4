"""How a command reports an error: one sentence, no traceback."""

import contextlib

#: The exit codes of a command that failed with an error message, that Ctrl-C ended, and whose output pipe was closed.
REFUSED = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


class CommandError(Exception):
    """An error that the user can correct; the message is one sentence, the exit code is 2."""


@contextlib.contextmanager
def refusals(*others: type[Exception]):
    """Inside the `with` block, a `ValueError` of the library, or one of `others`, becomes a `CommandError`."""
    kinds: tuple[type[Exception], ...] = (ValueError, *others)
    try:
        yield
    except kinds as error:
        raise CommandError(first_line(_sentence(error)) or type(error).__name__) from error


def first_line(text: str) -> str:
    """The first line of a message; empty if it has none."""
    return text.strip().partition("\n")[0]


@contextlib.contextmanager
def refusals_of_the_disk(command: str, rule: str, name: str | None = None):
    """Inside the `with` block, a file that can't be written or read, as on a full disk, gets `disk_refusal`."""
    try:
        yield
    except OSError as error:
        raise disk_refusal(command, rule, error, name) from error


def said(command: str, error: Exception) -> str:
    """An error as a command prints it, with the command's name in place of an internal function's.

    The name of an op or of an environment variable, which a user has selected, stays.
    """
    # Not at the top: importing Keras would slow down the help.
    from keras_griffin.ops.implementation import Op

    speaker, colon, rest = str(error).partition(": ")
    is_internal = speaker == command or (
        speaker.replace(".", "_").isidentifier() and not speaker.isupper() and speaker not in Op.registry
    )
    return f"keras_griffin {command}: {rest if colon and is_internal else error}"


def disk_refusal(command: str, rule: str, error: OSError, name: str | None = None) -> CommandError:
    """The error of a command for a file, `name` as the user gave it, or else the error's; a broken pipe stays one."""
    if isinstance(error, BrokenPipeError):
        raise error
    # Report the system's error, without the library's wording around it.
    error = error.__context__ if isinstance(error.__context__, OSError) else error
    if name is not None and error.strerror:
        return CommandError(f"{command}: {rule}. Got {name!r}: {error.strerror}.")
    # HDF5's messages have several lines.
    return CommandError(f"{command}: {rule}. Got {' '.join(_sentence(error).split())}.")


def _sentence(error: BaseException) -> str:
    """The original message: Keras and TensorFlow wrap it in calls, arguments and locations as it propagates."""
    while error.__context__ is not None and _words(error.__context__) and _words(error.__context__) in _words(error):
        error = error.__context__
    return str(error)


def _words(error):
    """The message without the line breaks and indents that TensorFlow adds."""
    return " ".join(str(error).split())
