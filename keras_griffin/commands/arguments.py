"""Types of command-line values, with the rule in the message."""

import argparse
import json


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
        >>> from keras_griffin.commands.arguments import parsed_option
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
