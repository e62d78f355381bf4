"""The examples of docs/guides/export.md run, with its program for onnxruntime beside them."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from scripts.page_examples import run_examples

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/guides/export.md"
PROGRAM = PAGE.with_name("onnx_stream.py")

pytestmark = pytest.mark.any_backend


def test_the_page_shows_the_program_which_needs_neither_keras_nor_many_lines():
    program = PROGRAM.read_text()
    assert f"```python\n{program}```\n" in PAGE.read_text() and program.count("\n") <= 50
    imported = re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE)
    assert set(imported) - sys.stdlib_module_names == {"numpy", "onnxruntime"}


@pytest.mark.trainable
@pytest.mark.slow
def test_the_examples_run(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs the extra dev")
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copy(PROGRAM, tmp_path)
    assert run_examples(PAGE, tmp_path)
