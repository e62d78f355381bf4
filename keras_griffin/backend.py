"""The choice of an installed backend where Keras's default is not installed."""

import importlib.util
import json
import os
import sys
from pathlib import Path

#: The backends that train, in the order in which they are tried; each is also the name of the module it needs.
BACKENDS = ("jax", "torch", "tensorflow")
_KERAS_DEFAULT = "tensorflow"


def choose_backend() -> None:
    """Set `KERAS_BACKEND` to an installed backend if Keras would use one that isn't; refuse if there is none."""
    # With JAX alone installed, importing Keras would fail: "No module named 'tensorflow'". An explicit choice stands.
    if os.environ.get("KERAS_BACKEND") or "keras" in sys.modules or _is_installed(_backend_of_keras_json()):
        return
    for backend in BACKENDS:
        if _is_installed(backend):
            os.environ["KERAS_BACKEND"] = backend
            return
    extras = ", ".join(f"'keras-griffin[{backend}]'" for backend in BACKENDS)
    raise ImportError(f"keras_griffin: Keras needs a backend, and none is installed. Install one of {extras}.")


def check_backend() -> None:
    """Refuse a `KERAS_BACKEND` that is not installed, before Keras fails to import it."""
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen and "keras" not in sys.modules and not _is_installed(chosen):
        installed = ", ".join(filter(_is_installed, (*BACKENDS, "numpy")))
        raise ImportError(
            f"keras_griffin: KERAS_BACKEND must name an installed backend, of which there are {installed}. "
            f"Got {chosen!r}."
        )


def _is_installed(module_name: str) -> bool:
    return module_name.isidentifier() and importlib.util.find_spec(module_name) is not None


def _backend_of_keras_json() -> str:
    """The backend in Keras's settings file, read as Keras reads it: a file that is not JSON counts as absent."""
    # A user without a home, as in a container, or who can't write to it, has Keras's folder in /tmp.
    home = os.path.expanduser("~")
    folder = os.environ.get("KERAS_HOME", os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras"))
    path = Path(os.path.expanduser(folder), "keras.json")
    if not path.exists():
        return _KERAS_DEFAULT
    try:
        settings = json.loads(path.read_text("utf-8"))
    except ValueError:
        return _KERAS_DEFAULT
    return settings.get("backend", _KERAS_DEFAULT)
