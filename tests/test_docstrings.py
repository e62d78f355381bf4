"""Every example in a docstring runs and prints what it says: on each backend, or on one if it makes a model."""

import ast
import doctest
import importlib
from pathlib import Path

import keras
import pytest

from keras_griffin.backend import BACKENDS

ROOT = Path(__file__).resolve().parent.parent
OTHERS = tuple(f"{backend}_" for backend in BACKENDS if backend != keras.backend.backend())


def examples():
    """One parameter for each docstring with an example, found in the source, so that collection imports nothing."""
    for path in sorted(ROOT.glob("keras_griffin/**/*.py")):
        if path.name.startswith(OTHERS):
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield from _examples_below(ast.parse(path.read_text()), module, [])


def _examples_below(node, module, names):
    docstring = ast.get_docstring(node) or ""
    if ">>>" in docstring:
        # What a language model does is tested on each backend; building one takes most of an example's time.
        marks = [pytest.mark.any_backend] if "GriffinConfig(" in docstring else []
        # Keras's NumPy backend can't train.
        marks += [pytest.mark.trainable] if ".fit(" in docstring or "influence(" in docstring else []
        yield pytest.param(module, names, id=".".join([module, *names]), marks=marks)
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            yield from _examples_below(child, module, [*names, child.name])


@pytest.mark.parametrize(("module", "names"), list(examples()))
def test_the_example_of(module, names):
    documented = importlib.import_module(module)
    for name in names:
        documented = getattr(documented, name)
    text = documented.__doc__
    test = doctest.DocTestParser().get_doctest(text, {}, ".".join([module, *names]), None, 0)
    output = []
    failed, attempted = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=output.append)
    assert attempted and not failed, "".join(output)
