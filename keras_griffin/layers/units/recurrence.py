"""A recurrent unit as the recurrence of a block, by its name and a dict of its arguments."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_griffin.checks import Rule, plain
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit
from keras_griffin.names import did_you_mean

#: The rule for a unit's arguments.
UNIT_OPTIONS = Rule(
    "a dict of constructor arguments",
    lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value),
)
#: The arguments that a block gives itself, or that would change the width.
OF_THE_BLOCK = ("units", "return_sequences", "return_state", "go_backwards", "stateful")


def recurrence(
    owner: str, name: str, kind: type[RecurrentUnit], options: Mapping[str, Any], dtype: keras.DTypePolicy
) -> RecurrentUnit:
    """A unit that keeps the width and returns every step; raises for `options` that are unknown or set by `owner`."""
    known = [argument for argument in kind.argument_names() if argument not in OF_THE_BLOCK]
    unknown = [option for option in options if option not in known]
    if unknown:
        names = f"must be among {', '.join(known)}" if known else "must be empty"
        hint = did_you_mean(unknown[0], known)
        raise ValueError(f"{owner}: unit_options of {name} {names}. Got {', '.join(unknown)}{hint}")
    return kind(**options, return_sequences=True, name=name, dtype=dtype)


def plain_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """A dict of a unit's arguments in a form that JSON can hold, empty for None."""
    return {name: plain(value) for name, value in (options or {}).items()}
