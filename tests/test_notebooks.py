"""Every notebook's source runs, and the executed copy is of that source."""

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))


def test_there_are_notebooks():
    assert SOURCES


@pytest.mark.any_backend
@pytest.mark.trainable
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
@pytest.mark.slow
def test_the_source_runs(source):
    environment = {**os.environ, "NOTEBOOK_STEPS": "8", "PYTHONPATH": str(FOLDER.parent)}
    run = subprocess.run([sys.executable, source], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_executed_notebook_is_of_this_source_and_ran_to_its_end(source):
    wanted = [(cell.cell_type, cell.source) for cell in jupytext.read(source).cells]
    executed = jupytext.read(source.with_suffix(".ipynb")).cells
    assert [(cell.cell_type, cell.source) for cell in executed] == wanted
    code = [cell for cell in executed if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code) and any(cell.outputs for cell in code)
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
