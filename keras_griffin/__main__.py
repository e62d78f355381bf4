"""The command line: `python -m keras_griffin train | generate | convert | explain`."""

import argparse
import io
import sys
from collections.abc import Sequence

from keras_griffin.commands import COMMANDS
from keras_griffin.commands.errors import INTERRUPTED, REFUSED, CommandError


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one sentence."""

    def error(self, message):
        self.exit(REFUSED, f"{self.prog}: {message} (See --help.)\n")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each command's module is its description."""
    parser = _Parser(prog="python -m keras_griffin", description="Griffin and Hawk language models in Keras.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, command in COMMANDS.items():
        summary, _, details = command.__doc__.partition("\n")
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
    """Run one command.

    Args:
        argv: the arguments; None for those of the process.

    Returns:
        The exit code: 0, 2 where the command refused, 130 after Ctrl-C.
    """
    arguments = make_parser().parse_args(argv)
    # What a model writes may not be expressible in the terminal's encoding.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        return COMMANDS[arguments.command].run(arguments)
    except CommandError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
