"""Which options were given on the command line, and which have their defaults."""

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class _Default:
    """A default, as it is shown in the help."""

    value: object

    def __str__(self):
        return str(self.value)

    def __repr__(self):
        return repr(self.value)


def mark_defaults(parser: argparse.ArgumentParser) -> None:
    """Have a parser whose options are complete tell what was given from what was not; see `split_given`."""
    defaults = vars(parser.parse_args([]))
    parser.set_defaults(**{name: _Default(value) for name, value in defaults.items()})


def split_given(arguments: argparse.Namespace) -> tuple[dict, dict]:
    """All arguments by name, and those among them that were given.

    Args:
        arguments: from a parser that `mark_defaults` has seen.

    Examples:
        >>> import argparse
        >>> from keras_griffin.commands.given import mark_defaults, split_given
        >>> parser = argparse.ArgumentParser()
        >>> action = parser.add_argument("--width", type=int, default=3)
        >>> action = parser.add_argument("--layers", type=int, default=2)
        >>> mark_defaults(parser)
        >>> split_given(parser.parse_args(["--layers", "2"]))
        ({'width': 3, 'layers': 2}, {'layers': 2})
    """
    marked = vars(arguments)
    given = {name: value for name, value in marked.items() if not isinstance(value, _Default)}
    return {name: value.value if isinstance(value, _Default) else value for name, value in marked.items()}, given
