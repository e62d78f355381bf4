"""Constructor arguments that had another name in an earlier version."""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import TypeVar

Kind = TypeVar("Kind")


def renamed_arguments(**new_names: str) -> Callable[[type[Kind]], type[Kind]]:
    """A class decorator: the constructor still takes old names, with a warning, and `from_config` without one.

    Args:
        **new_names: by old name, the new one: a keyword-only argument for which None means "not given".

    Examples:
        >>> from keras_griffin.layers import RGLRU
        >>> RGLRU.from_config({"num_blocks": 4}).num_gate_blocks
        4
    """

    def decorate(kind):
        construct, from_config = kind.__init__, kind.from_config.__func__

        @functools.wraps(construct)
        def init(self, *positional, **options):
            for old in new_names.keys() & options.keys():
                new, name = new_names[old], type(self).__name__
                value = options.pop(old)
                if options.get(new) is not None:
                    raise ValueError(
                        f"{name}: only one of {new} and {old}, its old name, may be given. "
                        f"Got {new}={options[new]!r} and {old}={value!r}."
                    )
                options[new] = value
                message = f"{name}: {old} is now called {new}; the old name will be removed in 0.2."
                warnings.warn(message, DeprecationWarning, stacklevel=2)
            construct(self, *positional, **options)

        def from_earlier_config(cls, config):
            """Accept the old names too."""
            return from_config(cls, {new_names.get(name, name): value for name, value in config.items()})

        # Keras reads the signature without following `__wrapped__`.
        init.__dict__["__signature__"] = inspect.signature(construct)
        kind.__init__, kind.from_config = init, classmethod(from_earlier_config)
        return kind

    return decorate
