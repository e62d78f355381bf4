import os
import subprocess
import sys

import keras
import pytest

from keras_griffin import backend
from keras_griffin.backend import BACKENDS
from tests.test_architecture import ROOT, sources


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Describe a machine: the modules installed, KERAS_BACKEND, and the text of keras.json; return what is chosen."""

    def choose(installed, variable=None, keras_json=None, keras_imported=False):
        monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: name if name in installed else None)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        if variable is None:
            monkeypatch.delenv("KERAS_BACKEND", raising=False)
        else:
            monkeypatch.setenv("KERAS_BACKEND", variable)
        if keras_json is not None:
            (tmp_path / "keras.json").write_text(keras_json)
        modules = {**sys.modules, "keras": keras}
        if not keras_imported:
            del modules["keras"]
        monkeypatch.setattr(backend.sys, "modules", modules)
        backend.choose_backend()
        return os.environ.get("KERAS_BACKEND")

    return choose


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        (["jax"], "jax"),
        (["torch"], "torch"),
        (["torch", "jax"], "jax"),
        (["tensorflow"], None),
        (["jax", "torch", "tensorflow"], None),
    ],
)
def test_an_installed_backend_is_chosen_only_where_keras_would_take_a_missing_one(machine, installed, chosen):
    assert machine(installed) == chosen
    assert machine(installed, keras_imported=True) is None


@pytest.mark.parametrize(
    ("keras_json", "chosen"),
    [('{"backend": "torch"}', None), ('{"backend": "tensorflow"}', "jax"), ("{}", "jax"), ("not json", "jax")],
)
def test_keras_json_is_read_as_keras_reads_it(machine, keras_json, chosen):
    assert machine(["jax", "torch"], keras_json=keras_json) == chosen


@pytest.mark.parametrize("home", ["of the user", "of another", "none"])
def test_keras_json_is_sought_where_keras_does(monkeypatch, tmp_path, home):
    """A user whom the system does not know, as in a container, has no home; without one that is writable it is /tmp."""

    def getpwuid(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pytest.importorskip("pwd"), "getpwuid", getpwuid)
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if home == "none":
        monkeypatch.delenv("HOME")
    monkeypatch.setattr(backend.os, "access", lambda path, mode: path == str(tmp_path) and home == "of the user")
    sought = []
    monkeypatch.setattr(backend, "Path", lambda *parts: sought.append(os.path.join(*parts)) or tmp_path / "none")
    assert backend._backend_of_keras_json() == "tensorflow"
    assert sought == [os.path.join(tmp_path if home == "of the user" else "/tmp", ".keras", "keras.json")]


@pytest.mark.parametrize("name", ["torch", "pytorch", "a.b"])
def test_an_explicit_choice_stands_and_one_that_is_not_installed_is_refused_in_one_sentence(machine, name):
    assert machine(["jax", "numpy"], variable=name) == name
    with pytest.raises(ImportError) as error:
        backend.check_backend()
    assert str(error.value) == (
        f"keras_griffin: KERAS_BACKEND must name an installed backend, of which there are jax, numpy. Got {name!r}."
    )


def test_without_any_backend_one_sentence_names_the_extras(machine):
    with pytest.raises(ImportError) as error:
        machine([])
    assert str(error.value) == (
        "keras_griffin: Keras needs a backend, and none is installed. "
        "Install one of 'keras-griffin[jax]', 'keras-griffin[torch]', 'keras-griffin[tensorflow]'."
    )


@pytest.mark.slow
def test_import_works_where_only_the_active_backend_is_installed(tmp_path):
    """A new process, no KERAS_BACKEND, an empty KERAS_HOME, and every other backend impossible to import."""
    active = keras.backend.backend()
    if active not in backend.BACKENDS:
        pytest.skip("the backend is chosen among those that train")
    # Keras imports scikit-learn where the notebooks have brought it, which fails where PyTorch is there and None.
    others = [*(name for name in backend.BACKENDS if name != active), "sklearn"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({others!r}))\n"
        "import keras_griffin, keras; print(keras.backend.backend())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment["KERAS_HOME"] = str(tmp_path)
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == active


@pytest.mark.parametrize("installed", ["all", "only the active backend"])
@pytest.mark.slow
def test_importing_every_module_loads_nothing_but_the_package_and_safetensors(installed):
    """And the active backend, which Keras loads; so do its NumPy backend and its Orbax callback, for JAX."""
    active = keras.backend.backend()
    others = set(BACKENDS) - {active}
    # Kernels in Triton are imported when they run.
    there = [source for source in sources() if source.backend not in others and ("triton", True) not in source.imports]
    modules = [".".join([*source.package, source.name]) for source in there]
    modules = [module.removesuffix(".__init__") for module in modules if not module.endswith("__main__")]
    absent = [] if installed == "all" else sorted({*others, "sklearn"} - ({"jax"} if active == "numpy" else set()))
    program = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({absent!r}))
import keras
before = set(sys.modules)
for module in {modules!r}:
    importlib.import_module(module)
print(sorted({{name.split(".")[0] for name in set(sys.modules) - before}} - sys.stdlib_module_names))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (run.returncode, run.stdout.strip()) == (0, "['keras_griffin', 'safetensors']"), run.stderr
