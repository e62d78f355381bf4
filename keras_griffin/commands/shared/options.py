"""The options of the command line: types of values, options that commands share, and which ones were given."""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

DTYPES = ("float32", "bfloat16", "float16", "mixed_bfloat16", "mixed_float16")
#: The help of `MODEL`.
MODEL = (
    "the folder of a run, such as runs/NAME, or a .keras file; a preset's or a Hugging Face folder; hf://OWNER/NAME; "
    "or python_tiny"
)


def number(kind: Callable[[str], Any], is_allowed: Callable[[Any], bool], rule: str) -> Callable[[str], Any]:
    """A type for argparse: a number for which the rule holds."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not is_allowed(value):
            raise argparse.ArgumentTypeError(f"must be {rule}. Got {text!r}.")
        return value

    return parse


positive_int = number(int, lambda value: value >= 1, "an integer of at least 1")
non_negative_int = number(int, lambda value: value >= 0, "an integer of at least 0")
seed = number(int, lambda value: 0 <= value < 2**64, "an integer from 0 to 2**64 - 1")
positive_float = number(float, lambda value: 0 < value < float("inf"), "a finite number above 0")
non_negative_float = number(float, lambda value: 0 <= value < float("inf"), "a finite number of at least 0")
share = number(float, lambda value: 0 < value <= 1, "a number above 0 and at most 1")


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
    """The names that lead to an option of a mixer, such as `["lru", "state_size"]`, and its value: JSON, or text."""
    path, _, value = text.partition("=")
    try:
        return path.split("."), json.loads(value)
    except ValueError:
        return path.split("."), value


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


def add_files(parser: argparse.ArgumentParser, count: str = "*") -> None:
    """The text to read."""
    parser.add_argument("files", nargs=count, metavar="FILES", help="files or folders of text")
    parser.add_argument("--include-binary", action="store_true", help="also read binary files inside folders")


def add_output(group: argparse._ActionsContainer, metavar: str, text: str, replaced: str, **options: Any) -> None:
    """Where the result goes, and whether it may replace an earlier one."""
    group.add_argument("--output", metavar=metavar, help=text, **options)
    group.add_argument("--overwrite", action="store_true", help=f"replace {replaced}")


def add_windows(group: argparse._ActionsContainer, unit: str) -> None:
    """The batches of windows to train on."""
    add_number(group, "--sequence-length", 256, f"{unit} in a window")
    add_number(group, "--batch-size", 8, "windows in a batch")
    add_number(group, "--learning-rate", 3e-3, "peak learning rate")
    add_number(group, "--seed", 0, "seed of the split, the weights and the batches", seed)


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model, its adapter and its dtype."""
    parser.add_argument("--model", required=True, metavar="MODEL", help=MODEL)
    add_adapter(parser)
    add_dtype(parser)


def add_adapter(parser: argparse.ArgumentParser) -> None:
    """The adapter of the model."""
    parser.add_argument("--adapter", metavar="FILE", help="an adapter that fine-tune trained for this model")


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """The dtype in which the model is loaded."""
    parser.add_argument("--dtype", choices=DTYPES, metavar="DTYPE", help=f"{', '.join(DTYPES)}; not for a .keras file")


def add_sampling(group: argparse._ActionsContainer) -> None:
    """How the next token is drawn: `--temperature` and `--top-p`."""
    text = "below 1 favours likely tokens, 0 always takes the likeliest"
    add_number(group, "--temperature", 0.7, text, non_negative_float)
    text = "sample from the likeliest tokens whose total probability is P (default: %(default)s)"
    group.add_argument("--top-p", type=share, default=0.95, metavar="P", help=text)


@dataclass(frozen=True)
class _Default:
    """A default value, printed as itself in the help."""

    value: object

    def __str__(self):
        return str(self.value)


def mark_defaults(parser: argparse.ArgumentParser) -> None:
    """Mark the defaults of a parser that has all its options, for `split_given`; None is only ever a default."""
    defaults = vars(parser.parse_args([]))
    parser.set_defaults(**{name: _Default(value) for name, value in defaults.items() if value is not None})


def split_given(arguments: argparse.Namespace) -> tuple[dict, dict]:
    """All arguments by name, and those that were given, even as their defaults; the parser has marked defaults."""
    marked = vars(arguments)
    given = {name: value for name, value in marked.items() if not isinstance(value, _Default | None)}
    return {name: value.value if isinstance(value, _Default) else value for name, value in marked.items()}, given
