"""`get_config` and the whole signature of a layer, from its constructors' signatures; checks of their arguments."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_griffin.checks import Rule, checked, is_number, plain

_KEYWORD, _REST = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, _KEYWORD)


class _Signature:
    """The signature of a class; its instances have none, because they are called otherwise."""

    def __get__(self, instance, kind):
        if instance is not None:
            raise AttributeError("__signature__")
        return signature_of(kind)


class Configured:
    """A base, placed before Keras's class, for classes that keep each constructor argument under its name.

    A constructor that hands `**kwargs` to its base's has the base's arguments too: in `get_config`, in
    `inspect.signature` and in `help`. A subclass with its own `get_config` is responsible for its own arguments, as
    with every Keras layer.
    """

    __signature__ = _Signature()

    def checked(self, rule: Rule, /, **argument: Any) -> Any:
        """Check a constructor argument, and return it, with NumPy's numbers, and those of a pair, as Python's."""
        value = checked(type(self).__name__, rule, **argument)
        return tuple(map(plain, value)) if isinstance(value, list | tuple) else value

    def get_config(self):
        """The constructor's arguments."""
        kinds = _ours(type(self))
        with_config = [place for place, kind in enumerate(kinds) if "get_config" in vars(kind)]
        others = kinds[with_config[-1] + 1 :] if with_config else kinds
        names = argument_names(others[0]) if others else ()
        return {**super().get_config(), **{name: _plain(getattr(self, name)) for name in names}}


def range_rule(words: str, holds: Callable[[Any, Any], Any]) -> Rule:
    """The rule for an argument that is a pair of numbers `(low, high)`."""

    def is_range(value):
        is_pair = isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value))
        return is_pair and bool(holds(*value))

    return Rule(f"(low, high) with {words}", is_range)


def argument_names(kind: type) -> tuple[str, ...]:
    """The names of a constructor's arguments, without Keras's; those of its bases, if it takes them, come last."""
    return tuple(name for name, each in signature_of(kind).parameters.items() if each.kind in _NAMED)


@functools.cache
def signature_of(kind: type) -> inspect.Signature:
    """The constructor's signature; its bases' arguments, if it takes them, by keyword only."""
    parameters: dict[str, inspect.Parameter] = {}
    constructors = [vars(each)["__init__"] for each in _ours(kind) if "__init__" in vars(each)]
    for place, constructor in enumerate(constructors):
        _, *own = inspect.signature(constructor).parameters.values()
        # The last `**kwargs` are those that remain.
        parameters = {name: each for name, each in parameters.items() if each.kind is not _REST}
        for each in own:
            is_inherited = place > 0 and each.kind in _NAMED
            parameters.setdefault(each.name, each.replace(kind=_KEYWORD) if is_inherited else each)
        if not any(each.kind is _REST for each in own):
            break
    return inspect.Signature(sorted(parameters.values(), key=lambda each: each.kind))


def _ours(kind) -> tuple[type, ...]:
    """A class and its bases that are not Keras's, from the class up."""
    return kind.__mro__[: kind.__mro__.index(Configured)]


def _plain(value):
    return keras.saving.serialize_keras_object(value) if isinstance(value, keras.Layer) else value
