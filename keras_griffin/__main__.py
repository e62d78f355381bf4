"""The command line: `python -m keras_griffin COMMAND`; `commands/` has the commands."""

import argparse
import errno
import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence

import keras_griffin
from keras_griffin.backend import check_backend
from keras_griffin.commands import COMMANDS, find_command
from keras_griffin.commands.shared.errors import BROKEN_PIPE, INTERRUPTED, REFUSED, CommandError, disk_refusal, said
from keras_griffin.names import did_you_mean
from keras_griffin.program import restore_sigint


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one sentence, and names what may have been meant."""

    def error(self, message):
        self.exit(REFUSED, f"{self.prog.removeprefix('python -m ')}: {message} (See --help.)\n")

    def _print_message(self, message, file=None):
        if file is not sys.stdout:
            super()._print_message(message, file)
            return
        # `main` reports a closed pipe or a full disk; argparse would ignore it, and Python report it while it exits.
        file.write(message)
        file.flush()

    def parse_known_args(self, args=None, namespace=None):
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            option = next((word for word in unknown if word.startswith("-")), "").partition("=")[0]
            end = did_you_mean(option, self._option_string_actions).removesuffix(".")
            self.error(f"unrecognized arguments: {' '.join(unknown)}{end}")
        return found, unknown

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            end = did_you_mean(value, action.choices)
            raise argparse.ArgumentError(action, f"must be one of {', '.join(action.choices)}. Got {value!r}{end}")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; a command's docstring is its description."""
    parser = _Parser(prog="python -m keras_griffin", description="Griffin and Hawk language models in Keras.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name in COMMANDS:
        command = find_command(name)
        summary, _, details = str(command.__doc__).partition("\n")
        subparser = subparsers.add_parser(
            name,
            help=summary[0].lower() + summary[1:].rstrip("."),
            description=summary,
            epilog=details.strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command: the exit code is 0, 2 if it refused, 130 after Ctrl-C, 141 after a broken pipe."""
    _open_closed_streams()
    # A model may write characters that the terminal's encoding lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    speaker = "keras_griffin"
    try:
        arguments = make_parser().parse_args(argv)
        speaker = f"keras_griffin {arguments.command}"
        check_backend()
    except ImportError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except OSError as error:
        return _without_output(speaker, error)
    # The packages, which register their classes and formats; a class is not a module.
    for name in filter(str.islower, keras_griffin.__all__):
        importlib.import_module(f"keras_griffin.{name}")
    command = find_command(arguments.command)
    restore_sigint()
    try:
        with warnings.catch_warnings():
            # Of Keras's quantised layers on NumPy, where nothing needs gradients.
            warnings.filterwarnings("ignore", message=".*`custom_gradient` for the numpy backend")
            code = command.run(arguments)
        sys.stdout.flush()
        return code
    except CommandError as error:
        print(said(arguments.command, error), file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        return _without_output(speaker, error)


def _open_closed_streams() -> None:
    """Connect standard streams that the parent process has closed, which Python sets to None, to the null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def _without_output(speaker: str, error: OSError) -> int:
    """The exit code where standard output can't be written: its reader has closed it, or the disk is full."""
    # `head`, for example, has read enough. Windows has no error of its own for it.
    is_closed = isinstance(error, BrokenPipeError) or (
        os.name == "nt" and error.errno == errno.EINVAL and error.filename is None
    )
    if not is_closed and error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise error
    # Flushing the rest at exit would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if is_closed:
        return BROKEN_PIPE
    print(disk_refusal(speaker, "the disk must have enough space", error), file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
