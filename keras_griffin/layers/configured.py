"""`get_config` derived from a layer's signature."""

import functools
import inspect

import keras


class Configured:
    """A base, placed before Keras's class, for classes that keep each constructor argument under its name.

    A subclass with its own `get_config` is responsible for its own arguments, as with every Keras layer.
    """

    def get_config(self):
        """The constructor's arguments."""
        kind: type = type(self)
        values = {name: getattr(self, name) for name in _answered_names(kind)}
        values = {name: _plain(value) for name, value in values.items()}
        return {**super().get_config(), **values}


def argument_names(kind: type[Configured]) -> tuple[str, ...]:
    """The names of a constructor's arguments, without Keras's; with those of its base classes if it passes them on.

    Args:
        kind: the class; the names of its bases come first.
    """
    return _names_of(_ours(kind))


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
    for kind in kinds:
        if "__init__" not in vars(kind):
            continue
        _, *parameters = inspect.signature(vars(kind)["__init__"]).parameters.values()
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names = [*(each.name for each in parameters if each.kind in named), *names]
        if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
            break
    return tuple(dict.fromkeys(names))


def _plain(value):
    return keras.saving.serialize_keras_object(value) if isinstance(value, keras.Layer) else value
