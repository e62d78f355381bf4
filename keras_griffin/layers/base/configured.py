"""`get_config` and the whole signature of a layer, derived from its constructors' signatures."""

import functools
import inspect
from collections.abc import Iterator

import keras

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

    def get_config(self):
        """The constructor's arguments."""
        kind: type = type(self)
        values = {name: getattr(self, name) for name in _answered_names(kind)}
        values = {name: _plain(value) for name, value in values.items()}
        return {**super().get_config(), **values}


def argument_names(kind: type[Configured]) -> tuple[str, ...]:
    """The names of a constructor's arguments, without Keras's; those of its bases, if it takes them, come first."""
    return _names_of(_ours(kind))


@functools.cache
def signature_of(kind: type[Configured]) -> inspect.Signature:
    """The constructor's signature; its bases' arguments, if it takes them, by keyword only."""
    parameters: dict[str, inspect.Parameter] = {}
    for place, constructor in enumerate(_constructors(_ours(kind))):
        # The last `**kwargs` are those that remain.
        parameters = {name: each for name, each in parameters.items() if each.kind is not _REST}
        for each in constructor:
            is_inherited = place > 0 and each.kind in _NAMED
            parameters.setdefault(each.name, each.replace(kind=_KEYWORD) if is_inherited else each)
    return inspect.Signature(sorted(parameters.values(), key=lambda each: each.kind))


def _ours(kind) -> tuple[type, ...]:
    """A class and its bases that are not Keras's, from the class up."""
    return kind.__mro__[: kind.__mro__.index(Configured)]


@functools.cache
def _answered_names(kind) -> tuple[str, ...]:
    """The names for which no class's own `get_config` is responsible."""
    kinds = _ours(kind)
    answering = [place for place, each in enumerate(kinds) if "get_config" in vars(each)]
    return _names_of(kinds[answering[-1] + 1 if answering else 0 :])


def _names_of(kinds) -> tuple[str, ...]:
    names: list[str] = []
    for constructor in _constructors(kinds):
        names = [*(each.name for each in constructor if each.kind in _NAMED), *names]
    return tuple(dict.fromkeys(names))


def _constructors(kinds) -> Iterator[list[inspect.Parameter]]:
    """The parameters of each constructor, from the class up to the first that has no `**kwargs`."""
    for kind in kinds:
        if "__init__" not in vars(kind):
            continue
        _, *parameters = inspect.signature(vars(kind)["__init__"]).parameters.values()
        yield parameters
        if not any(each.kind is _REST for each in parameters):
            return


def _plain(value):
    return keras.saving.serialize_keras_object(value) if isinstance(value, keras.Layer) else value
