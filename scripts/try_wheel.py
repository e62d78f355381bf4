"""Install a wheel with one backend and tokenizers into an empty environment; run README's examples there, or tests.

    python3 scripts/try_wheel.py jax
    python3 scripts/try_wheel.py --tests jax dist/keras_griffin-0.1.0-py3-none-any.whl

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
if not importlib.resources.files("keras_griffin").joinpath("py.typed").is_file():
    raise SystemExit("The wheel has no py.typed.")
"""
#: With `--tests`: files, systems, commands, training and decoding, without the slow tests; and what runs them.
TESTS = ("files", "test_main.py", "training/resuming", "models/test_language_model.py", "generation/test_generate.py")
RUNNER = ("pytest>=8.4", "pytest-xdist>=3.8")


def main():
    """Try the wheel; return None, or an error message."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", choices=("jax", "torch", "tensorflow"), help="the only one that is installed")
    parser.add_argument("wheel", nargs="?", type=Path, help="default: build it from this checkout")
    parser.add_argument("--tests", action="store_true", help="run some of this checkout's tests too")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            try_wheel(options.backend, options.wheel, Path(folder), options.tests)
        except subprocess.CalledProcessError as error:
            return f"The wheel failed: status {error.returncode} of {' '.join(map(str, error.cmd))[:200]}"
    print(f"{time.perf_counter() - start:.0f} seconds in total")
    return None


def try_wheel(backend: str, wheel: Path | None, folder: Path, with_tests: bool) -> None:
    """Install the wheel in a folder and run README's examples.

    Args:
        backend: its extra.
        wheel: the file; None to build it from this checkout.
        folder: empty.
        with_tests: whether to run some tests too; they import the package from this checkout.

    Raises:
        subprocess.CalledProcessError: a step failed.
    """
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    # Keras's own settings file may choose another backend.
    variables = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    variables["KERAS_HOME"] = str(folder)

    def run(*arguments, cwd=folder):
        subprocess.run([interpreter(environment), *arguments], cwd=cwd, env=variables, check=True)

    if wheel is None:
        run("-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", folder, ROOT)
        (wheel,) = folder.glob("keras_griffin-*.whl")
    print(f"Installing {wheel.name} with {backend} and tokenizers, which takes minutes", flush=True)
    run("-m", "pip", "install", "-q", f"{wheel.resolve()}[{backend},tokenizers]")
    run("-c", CHECK)
    run(ROOT / "scripts/page_examples.py", ROOT / "README.md")
    if with_tests:
        run("-m", "pip", "install", "-q", *RUNNER)
        files = [ROOT / "tests" / name for name in TESTS]
        run(ROOT / "tests/run_backends.py", "--quick", f"--backends={backend}", *files, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
