"""The rules that arguments must obey, each defined once."""

import numbers
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_griffin.names import did_you_mean


class Rule(NamedTuple):
    """A rule for one argument."""

    #: The end of the sentence "must be ...".
    words: str
    #: Whether a value of any type obeys it.
    holds: Callable[[Any], bool]
    #: The names that it permits, if they are few.
    names: tuple[str, ...] = ()

    def or_none(self) -> "Rule":
        """The rule for an argument that may also be None."""
        return Rule(f"{self.words}, or None", lambda value: value is None or self.holds(value), self.names)


def is_integer(value) -> bool:
    """Whether a value is an integer of Python or NumPy; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value) -> bool:
    """Whether a value is a real number of Python or NumPy; True and False are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_finite_number(value) -> bool:
    # Compared instead of converted: an integer may be too large for a float.
    return is_number(value) and abs(plain(value)) <= sys.float_info.max


def integer_from(least: int) -> Rule:
    """The rule for an integer with a lower bound."""
    return Rule(f"an integer of at least {least}", lambda value: is_integer(value) and value >= least)


COUNT = integer_from(1)
POSITIVE = Rule("a positive finite number", lambda value: _is_finite_number(value) and value > 0)
NOT_NEGATIVE = Rule("a finite number of at least 0", lambda value: _is_finite_number(value) and value >= 0)
FRACTION = Rule("a number from 0 to 1", lambda value: _is_finite_number(value) and 0 <= value <= 1)
FLAG = Rule("True or False", lambda value: isinstance(value, bool | np.bool_))


def one_of(names) -> Rule:
    """The rule for an argument that must be one of a few names."""
    return Rule(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names, tuple(names))


def plain(value):
    """A NumPy number as a Python number: Keras sometimes refuses NumPy's, and JSON always does."""
    return value.item() if isinstance(value, np.generic) else value


def checked(owner: str, rule: Rule, /, **argument):
    """Check an argument of the layer or function called `owner`, and return it, `plain`.

    Examples:
        >>> from keras_griffin.checks import COUNT, checked
        >>> checked("LocalMQA", COUNT, window=True)
        Traceback (most recent call last):
        ValueError: LocalMQA: window must be an integer of at least 1. Got True.
    """
    ((name, value),) = argument.items()
    if not rule.holds(value):
        raise ValueError(f"{owner}: {name} must be {rule.words}. Got {value!r}{did_you_mean(value, rule.names)}")
    return plain(value)
