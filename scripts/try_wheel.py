"""Install a wheel into an empty environment with one backend, and run README's examples there.

    python3 scripts/try_wheel.py jax
    python3 scripts/try_wheel.py jax dist/keras_griffin-0.1.0-py3-none-any.whl

By default the wheel is built from this checkout. Environment and wheel are in a temporary folder, which is removed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environment import ROOT, interpreter

#: Variables that would add to the environment, or select a backend other than the installed one.
LEFT_OUT = ("KERAS_BACKEND", "PYTHONPATH")
#: Run there: print the installed versions, and check that type checkers can read the package.
CHECK = """
import importlib.resources, keras_griffin, keras
versions = f"keras-griffin {keras_griffin.__version__}, Keras {keras.__version__}"
print(f"{versions} on {keras.backend.backend()}", flush=True)
assert importlib.resources.files("keras_griffin").joinpath("py.typed").is_file(), "no py.typed"
"""


def main():
    """Try the wheel; return None, or an error message."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", choices=("jax", "torch", "tensorflow"), help="the only one that is installed")
    parser.add_argument("wheel", nargs="?", type=Path, help="default: build it from this checkout")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            try_wheel(options.backend, options.wheel, Path(folder))
        except subprocess.CalledProcessError as error:
            return f"The wheel failed: status {error.returncode} of {' '.join(map(str, error.cmd))[:200]}"
    print(f"{time.perf_counter() - start:.0f} seconds in total")
    return None


def try_wheel(backend: str, wheel: Path | None, folder: Path) -> None:
    """Install the wheel in a folder and run README's examples.

    Args:
        backend: its extra.
        wheel: the file; None to build it from this checkout.
        folder: empty.

    Raises:
        subprocess.CalledProcessError: a step failed.
    """
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    # Keras's own settings file may choose another backend.
    variables = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    variables["KERAS_HOME"] = str(folder)

    def run(*arguments):
        subprocess.run([interpreter(environment), *arguments], cwd=folder, env=variables, check=True)

    if wheel is None:
        run("-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", folder, ROOT)
        (wheel,) = folder.glob("keras_griffin-*.whl")
    print(f"Installing {wheel.name} with {backend}, which takes minutes", flush=True)
    run("-m", "pip", "install", "-q", f"{wheel.resolve()}[{backend}]")
    run("-c", CHECK)
    run(ROOT / "scripts/page_examples.py", ROOT / "README.md")


if __name__ == "__main__":
    sys.exit(main())
