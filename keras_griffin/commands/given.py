"""Tell the options given on the command line from defaults."""

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class _Default:
    """A default value, printed as itself in the help."""

    value: object

    def __str__(self):
        return str(self.value)

    def __repr__(self):
        return repr(self.value)


class Append(argparse.Action):
    """The action "append", for an option whose default is marked."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Add a value to those given before it."""
        held = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*held, values] if isinstance(held, list) else [values])


def mark_defaults(parser: argparse.ArgumentParser) -> None:
    """Mark the defaults of a parser that has all its options, for `split_given`."""
    defaults = vars(parser.parse_args([]))
    parser.set_defaults(**{name: _Default(value) for name, value in defaults.items()})


def split_given(arguments: argparse.Namespace) -> tuple[dict, dict]:
    """All arguments by name, and the subset that was given.

    Args:
        arguments: from a parser passed to `mark_defaults`.

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
