"""Everything public is annotated. Whether the annotations are right, mypy says: `make lint`."""

import importlib
import inspect
import pkgutil

import keras
import pytest

import keras_griffin

pytestmark = pytest.mark.any_backend


def public_callables():
    """By name, each function, constructor and public method that the `__all__` of a package leads to.

    A method that overrides one of Keras's is left out: its arguments are Keras's, which has no types.
    """
    packages = [
        module.name for module in pkgutil.walk_packages(keras_griffin.__path__, "keras_griffin.") if module.ispkg
    ]
    for package in ("keras_griffin", *packages):
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", ()):
            yield from callables_of(f"{package}.{name}", getattr(module, name))


def callables_of(name, value):
    if inspect.isfunction(value):
        yield name, value
    elif inspect.isclass(value):
        own = [kind for kind in value.__mro__ if package_of(kind) == package_of(value)]
        methods = {method: function for kind in reversed(own) for method, function in vars(kind).items()}
        for method, function in methods.items():
            function = getattr(function, "fget", None) or getattr(function, "__func__", function)
            is_public = method in ("__init__", "__call__") or not method.startswith("_")
            if not is_public or not inspect.isfunction(function) or overrides_keras(value, method):
                continue
            # A protocol has a constructor of Python's.
            if package_of(function) == package_of(value):
                yield f"{name}.{method}", function


def package_of(value):
    return value.__module__.split(".")[0]


def overrides_keras(kind, method):
    above = [base for base in kind.__mro__[1:] if package_of(base) == "keras"]
    return method != "__init__" and any(method in vars(base) for base in above)


def unannotated(function):
    """The parameters without a type, and "return" where there is none."""
    signature = inspect.signature(function)
    names = [name for name, each in signature.parameters.items() if each.annotation is each.empty]
    has_return = signature.return_annotation is not signature.empty or function.__name__ == "__init__"
    return [name for name in names if name not in ("self", "cls")] + ([] if has_return else ["return"])


class Bad(keras.layers.Layer):
    def __init__(self, width: int, **kwargs):
        super().__init__(**kwargs)

    def call(self, inputs):
        return inputs

    def advance(self, inputs, state: object) -> object:
        return inputs

    @property
    def rows(self):
        return 1

    @classmethod
    def of(cls, config) -> object:
        return cls(config)


def test_what_is_not_annotated_is_found():
    found = {name: unannotated(function) for name, function in callables_of("Bad", Bad)}
    assert found == {
        "Bad.__init__": ["kwargs"],
        "Bad.advance": ["inputs"],
        "Bad.rows": ["return"],
        "Bad.of": ["config"],
    }


def test_everything_public_is_annotated():
    found = dict(public_callables())
    assert len(found) > 200
    assert not {name: missing for name, function in found.items() if (missing := unannotated(function))}
