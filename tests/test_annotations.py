"""Everything public is annotated. Whether the annotations are right, mypy says: `make lint`."""

import importlib
import inspect
import pkgutil
import re
from typing import Unpack

import keras
import pytest

import keras_griffin
from keras_griffin.layers import RGLRU, RecurrentUnit
from keras_griffin.layers.base.mixer import ExpandedMixer
from keras_griffin.layers.units.rg_lru import RGLRUOptions
from keras_griffin.shapes import ExpandedMixerOptions, LayerOptions, ModelOptions, RecurrentOptions
from tests.test_architecture import ROOT

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


def test_what_keras_takes_of_a_constructor_has_names_and_types():
    """`Any` would hide a typo from mypy and editors."""
    constructors = {name.removesuffix(".__init__"): each for name, each in public_callables() if "__init__" in name}
    kinds = {
        getattr(importlib.import_module(path), kind) for path, _, kind in (x.rpartition(".") for x in constructors)
    }
    layers = [kind for kind in kinds if issubclass(kind, keras.Layer) and not issubclass(kind, keras.Model)]
    annotations = {signature(kind)["kwargs"].annotation for kind in layers if "kwargs" in signature(kind)}
    typed = {RGLRU: RGLRUOptions, RecurrentUnit: RecurrentOptions, ExpandedMixer: ExpandedMixerOptions}
    assert len(layers) > 25 and annotations == {Unpack[LayerOptions], *(Unpack[options] for options in typed.values())}
    for kind, options in typed.items():
        arguments = inspect.signature(kind).parameters
        own = {name: each for name, each in options.__annotations__.items() if name in arguments}
        assert {name: arguments[name].annotation for name in own} == own
        assert options.__annotations__.keys() - own == LayerOptions.__annotations__.keys()
    assert signature(keras_griffin.Griffin)["kwargs"].annotation == Unpack[ModelOptions]


def signature(kind):
    return inspect.signature(kind.__init__).parameters


#: What a user writes, a call a line; mypy finds fault with those that are marked.
CALLS = """
import keras
from keras_griffin import RGLRU, Griffin, GriffinConfig, Hawk, SequenceEncoder
from keras_griffin.layers import CGLRU, GatedMLP, MinGRU
from keras_griffin.mixers import LocalMQA

CONFIG = GriffinConfig(vocabulary_size=256, width=64, num_layers=3, num_heads=2)
RGLRU(return_sequences=True, name="memory", dtype="bfloat16", trainable=False)
RGLRU(return_sequences="yes")  # wrong
RGLRU(32)  # wrong
RGLRU(nam="memory")  # wrong
MinGRU(32, activation="linear", dtype=keras.DTypePolicy("mixed_bfloat16"))
MinGRU(32, return_sequences=True, stateful=False, name="memory")
MinGRU(32, return_sequences="yes")  # wrong
MinGRU(32, go_backward=True)  # wrong
CGLRU(maximum_phase=0.1, exponent=4.0, return_state=True, trainable=False)
CGLRU(exponents=4.0)  # wrong
SequenceEncoder(32, pool="last", name="encoder")
SequenceEncoder(32, poool="last")  # wrong
GatedMLP(64, name="mlp")
GatedMLP(64, bias=True)  # wrong
LocalMQA(2, 8, name="attention")
LocalMQA(2, 8, heads=2)  # wrong
Griffin(CONFIG, name="griffin", dtype="mixed_bfloat16", rematerialize=True)
Griffin(CONFIG, rematerialise=True)  # wrong
Griffin()  # wrong
Griffin(CONFIG).generate("To be", 8, seeed=0)  # wrong
Hawk(CONFIG, dtype="bfloat16", trainable=False)
Hawk(256)  # wrong
class Named(RGLRU):
    def __init__(self, **kwargs):
        super().__init__(return_sequences=True, **kwargs)
"""


@pytest.mark.slow
def test_mypy_sees_a_typo_in_an_argument(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api", reason="needs the extra dev")
    # It looks for the package there first.
    monkeypatch.chdir(ROOT)
    file = tmp_path / "calls.py"
    file.write_text(CALLS)
    report, faults, _ = api.run([str(file)])
    # From its cache it may report another folder's file of the same text.
    found = {int(line) for line in re.findall(r"\bcalls\.py:(\d+): error:", report)}
    wrong = {number for number, line in enumerate(CALLS.splitlines(), 1) if line.endswith("# wrong")}
    assert (found, faults) == (wrong, ""), report
