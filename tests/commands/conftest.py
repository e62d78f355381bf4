import contextlib
import io

import pytest

from keras_griffin.__main__ import main


@pytest.fixture(scope="session")
def small():
    """The options of a model small enough to compile fast."""
    options = {"width": 32, "layers": 3, "heads": 2, "window": 8, "sequence-length": 16, "batch-size": 4}
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.py"
    path.write_text("".join(f"def f_{i}(x):\n    return x + {i}\n\n" for i in range(100)))
    return path


@pytest.fixture(scope="session")
def finished_run(text_file, small, tmp_path_factory):
    """The folder of a run of three steps, what it printed, and its exit code."""
    folder = tmp_path_factory.mktemp("run")
    options = ["--steps", "3", "--sample-bytes", "12", "--output", str(folder)]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main(["train", str(text_file), *small, *options])
    return folder, printed.getvalue(), code
