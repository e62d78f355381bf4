"""The options of the command line: types of values, options that commands share, and which ones were given."""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass

DTYPES = ("float32", "bfloat16", "float16", "mixed_bfloat16", "mixed_float16")
#: The help of `MODEL`.
MODEL = (
    "the folder of a run, such as runs/NAME, or a .keras file; a preset's or a Hugging Face folder; hf://OWNER/NAME; "
    "or python_tiny"
)


def positive_int(text: str) -> int:
    """An integer of at least 1."""
    return _number(text, int, lambda value: value >= 1, "an integer of at least 1")


def non_negative_int(text: str) -> int:
    """An integer of at least 0."""
    return _number(text, int, lambda value: value >= 0, "an integer of at least 0")


def seed(text: str) -> int:
    """An unsigned 64-bit integer."""
    return _number(text, int, lambda value: 0 <= value < 2**64, "an integer from 0 to 2**64 - 1")


def positive_float(text: str) -> float:
    """A finite number above 0."""
    return _number(text, float, lambda value: 0 < value < float("inf"), "a finite number above 0")


def non_negative_float(text: str) -> float:
    """A finite number of at least 0."""
    return _number(text, float, lambda value: 0 <= value < float("inf"), "a finite number of at least 0")


def share(text: str) -> float:
    """A number above 0 and at most 1."""
    return _number(text, float, lambda value: 0 < value <= 1, "a number above 0 and at most 1")


def names(text: str) -> list[str]:
    """Names with commas between them."""
    given = text.split(",")
    if not all(given):
        raise argparse.ArgumentTypeError(f"must be names with commas between them. Got {text!r}.")
    return given


def option(text: str) -> str:
    """An option of a mixer, MIXER.ARGUMENT=VALUE, as it was written; `parsed_option` takes it apart."""
    path, equals, _ = text.partition("=")
    places = path.split(".")
    if not equals or len(places) < 2 or not all(places):
        raise argparse.ArgumentTypeError(f"must be MIXER.ARGUMENT=VALUE. Got {text!r}.")
    return text


def parsed_option(text: str) -> tuple[list[str], object]:
    """The names that lead to an option of a mixer, and its value: JSON, or else text.

    Examples:
        >>> from keras_griffin.commands.shared.options import parsed_option
        >>> parsed_option("lru.unit_options.state_size=64")
        (['lru', 'unit_options', 'state_size'], 64)
    """
    path, _, value = text.partition("=")
    try:
        return path.split("."), json.loads(value)
    except ValueError:
        return path.split("."), value


def _number(text, kind, is_allowed, rule):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not is_allowed(value):
        raise argparse.ArgumentTypeError(f"must be {rule}. Got {text!r}.")
    return value


def add_number(
    group: argparse._ActionsContainer, name: str, default: float, text: str, kind: Callable | None = None
) -> None:
    """A number that is positive, unless `kind` says otherwise; the help ends with the default."""
    is_float = isinstance(default, float)
    group.add_argument(
        name,
        type=kind or (positive_float if is_float else positive_int),
        default=default,
        metavar="X" if is_float else "N",
        help=f"{text} (default: {default:g})",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model, its adapter and its dtype."""
    parser.add_argument("--model", required=True, metavar="MODEL", help=MODEL)
    parser.add_argument("--adapter", metavar="FILE", help="an adapter that fine-tune trained for this model")
    add_dtype(parser)


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """The dtype in which the model is loaded."""
    parser.add_argument("--dtype", choices=DTYPES, metavar="DTYPE", help=f"{', '.join(DTYPES)}; not for a .keras file")


def add_sampling(group: argparse._ActionsContainer) -> None:
    """How the next token is drawn: `--temperature` and `--top-p`."""
    text = "below 1 favours likely tokens, 0 always takes the likeliest"
    add_number(group, "--temperature", 0.7, text, non_negative_float)
    group.add_argument(
        "--top-p",
        type=share,
        default=0.95,
        metavar="P",
        help="sample from the likeliest tokens whose total probability is P (default: %(default)s)",
    )


@dataclass(frozen=True)
class _Default:
    """A default value, printed as itself in the help."""

    value: object

    def __str__(self):
        return str(self.value)

    def __repr__(self):
        return repr(self.value)


def mark_defaults(parser: argparse.ArgumentParser) -> None:
    """Mark the defaults of a parser that has all its options, for `split_given`; None is only ever a default."""
    defaults = vars(parser.parse_args([]))
    parser.set_defaults(**{name: _Default(value) for name, value in defaults.items() if value is not None})


def split_given(arguments: argparse.Namespace) -> tuple[dict, dict]:
    """All arguments by name, and the subset that was given.

    Args:
        arguments: from a parser passed to `mark_defaults`.

    Examples:
        >>> import argparse
        >>> from keras_griffin.commands.shared.options import mark_defaults, split_given
        >>> parser = argparse.ArgumentParser()
        >>> action = parser.add_argument("--width", type=int, default=3)
        >>> action = parser.add_argument("--layers", type=int, default=2)
        >>> mark_defaults(parser)
        >>> split_given(parser.parse_args(["--layers", "2"]))
        ({'width': 3, 'layers': 2}, {'layers': 2})
    """
    marked = vars(arguments)
    given = {name: value for name, value in marked.items() if not isinstance(value, _Default | None)}
    return {name: value.value if isinstance(value, _Default) else value for name, value in marked.items()}, given
