"""The examples of docs/guides/export.md run, with its programs for onnxruntime beside them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.page_examples import run_examples

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/guides/export.md"
PROGRAM = PAGE.with_name("onnx_stream.py")
#: Where onnxruntime's headers and library are, if not where the compiler looks.
HEADERS, LIBRARY = (os.environ.get(f"ONNXRUNTIME_{name}", "") for name in ("HEADERS", "LIBRARY"))

pytestmark = pytest.mark.any_backend


def test_the_page_shows_the_program_which_needs_neither_keras_nor_many_lines():
    program = PROGRAM.read_text()
    assert f"```python\n{program}```\n" in PAGE.read_text() and program.count("\n") <= 50
    imported = re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE)
    assert set(imported) - sys.stdlib_module_names == {"numpy", "onnxruntime"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the examples have run."""
    pytest.importorskip("onnxruntime", reason="needs the extra dev")
    folder = tmp_path_factory.mktemp("guide")
    shutil.copy(PROGRAM, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        assert run_examples(PAGE, folder)
    return folder


@pytest.mark.trainable
@pytest.mark.slow
def test_the_examples_run(folder):
    assert {"model.onnx", "policy.onnx", "spotter.onnx"} <= {path.name for path in folder.iterdir()}


@pytest.mark.trainable
@pytest.mark.slow
def test_the_program_in_c_plus_plus_hears_the_same(folder):
    headers = Path(HEADERS or "/usr/include/onnxruntime")
    if not shutil.which("c++") or not (headers / "onnxruntime_cxx_api.h").exists():
        pytest.skip("needs onnxruntime's headers")
    library = ["-L", LIBRARY, "-Wl,--allow-shlib-undefined", f"-Wl,-rpath,{LIBRARY}"] if LIBRARY else []
    source = ["-std=c++17", f"-I{headers}", PROGRAM.with_suffix(".cpp")]
    subprocess.run(["c++", *source, *library, "-lonnxruntime", "-o", folder / "stream"], check=True)
    np.savetxt(folder / "sound.txt", np.load(folder / "sound.npz")["sample"][0])
    with open(folder / "sound.txt") as sound:
        environment = {**os.environ, "LD_LIBRARY_PATH": LIBRARY}
        run = subprocess.run(
            [folder / "stream", folder / "spotter.onnx"], stdin=sound, capture_output=True, text=True, env=environment
        )
    assert run.returncode == 0, run.stderr
    heard = [[float(number) for number in line.split()] for line in run.stdout.splitlines()]
    # It prints six digits.
    np.testing.assert_allclose(heard, np.load(folder / "heard.npz")["scores"][0], rtol=1e-5, atol=1e-5)
