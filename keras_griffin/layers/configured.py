"""`get_config` from a layer's own signature."""

import functools
import inspect

import keras


class Configured:
    """For what keeps each argument of its constructor as the attribute of that name: stands before Keras's class.

    A subclass with a `get_config` of its own answers for its own arguments, as with every Keras layer.
    """

    def get_config(self):
        """The constructor's arguments."""
        values = {name: getattr(self, name) for name in _argument_names(type(self))}
        values = {name: _plain(value) for name, value in values.items()}
        return {**super().get_config(), **values}


@functools.cache
def _argument_names(kind) -> tuple[str, ...]:
    kinds = kind.__mro__[: kind.__mro__.index(Configured)]
    answering = [place for place, each in enumerate(kinds) if "get_config" in vars(each)]
    names = {}
    for each in reversed(kinds[answering[-1] + 1 if answering else 0 :]):
        if "__init__" in vars(each):
            _, *parameters = inspect.signature(vars(each)["__init__"]).parameters.values()
            named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
            names.update(dict.fromkeys(parameter.name for parameter in parameters if parameter.kind in named))
    return tuple(names)


def _plain(value):
    return keras.saving.serialize_keras_object(value) if isinstance(value, keras.Layer) else value
