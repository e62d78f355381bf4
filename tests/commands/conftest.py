import contextlib
import io

import pytest

from keras_griffin.__main__ import main


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.py"
    path.write_text("".join(f"def f_{i}(x):\n    return x + {i}\n\n" for i in range(100)))
    return path


@pytest.fixture(scope="session")
def finished_run(text_file, tmp_path_factory):
    """The folder of a run of three steps, what it printed, and its exit code."""
    folder = tmp_path_factory.mktemp("run")
    model = "--width 32 --layers 3 --heads 2 --window 8 --sequence-length 16 --batch-size 4".split()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main(["train", str(text_file), *model, "--steps", "3", "--sample-bytes", "12", "--output", str(folder)])
    return folder, printed.getvalue(), code
