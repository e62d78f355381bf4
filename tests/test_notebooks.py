"""Every notebook asserts what its text says, and the executed copy is of its source; `run_small.py` runs them."""

import ast
import re
from pathlib import Path

import jupytext
import pytest

from keras_griffin.inspection.plots import COLOURS
from notebooks.execute import is_of_tests
from notebooks.run_small import BACKENDS, ON_EVERY_BACKEND, named_backend

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))

each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def cells(path, kind):
    """The sources of a notebook's cells of one kind."""
    return [cell.source for cell in jupytext.read(path).cells if cell.cell_type == kind]


def numbers(text):
    """The numbers that a text names."""
    found = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?!\w)", text)
    return {float(number.replace(",", "")) for number in found}


def asserted(code):
    """The numbers that stand in a cell's assertions."""
    tests = [node.test for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assert)]
    constants = [node.value for test in tests for node in ast.walk(test) if isinstance(node, ast.Constant)]
    return {float(value) for value in constants if isinstance(value, int | float)}


def unasserted(notebook):
    """The numbers that a reader is told to expect, and that no cell before the next text asserts."""
    expected, found = set(), set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield from expected - found
            texts = re.findall(r"\*\*Expect\*\*.*?(?:\n\n|\Z)", cell.source, re.S)
            expected, found = {number for text in texts for number in numbers(text)}, set()
        else:
            found |= asserted(cell.source)
    yield from expected - found


def test_there_are_notebooks():
    assert len(SOURCES) == 12
    assert {source.stem[3:] for source in SOURCES} > set(ON_EVERY_BACKEND)


def test_figures_have_the_colours_of_the_library_s_plots():
    matplotlib = pytest.importorskip("matplotlib")
    rules = matplotlib.rc_params_from_file(FOLDER / "matplotlibrc", use_default_template=False)
    assert tuple(rules["axes.prop_cycle"].by_key()["color"]) == COLOURS


def test_a_number_that_is_expected_and_not_asserted_is_found():
    text = "# %% [markdown]\n# **Expect** a loss between 1.5 and 2,000.\n\n# %%\nassert 1.5 < loss < {}\n"
    assert not list(unasserted(jupytext.reads(text.format("2_000"), "py:percent")))
    assert list(unasserted(jupytext.reads(text.format("3000"), "py:percent"))) == [2000.0]


@pytest.mark.any_backend
@each_source
def test_the_first_cell_of_code_names_a_backend(source):
    assert named_backend(cells(source, "code")[0]) in BACKENDS


@pytest.mark.any_backend
@each_source
def test_the_text_says_what_is_asserted(source):
    notebook = jupytext.read(source)
    assert any("**Expect**" in cell.source for cell in notebook.cells)
    assert not list(unasserted(notebook))


@pytest.mark.any_backend
@each_source
def test_a_notebook_ends_with_three_exercises(source):
    heading, *exercises = [line for line in cells(source, "markdown")[-1].splitlines() if re.match(r"##|\d\. ", line)]
    assert heading == "## Exercises"
    assert [exercise[:3] for exercise in exercises] == ["1. ", "2. ", "3. "]


@pytest.mark.any_backend
@each_source
def test_the_executed_notebook_is_of_this_source_and_ran_to_its_end(source):
    wanted = [(cell.cell_type, cell.source) for cell in jupytext.read(source).cells if not is_of_tests(cell)]
    executed = jupytext.read(source.with_suffix(".ipynb")).cells
    assert [(cell.cell_type, cell.source) for cell in executed] == wanted
    code = [cell for cell in executed if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, 1 + len(code)))
    assert not any("SMALL" in text or re.search(r"^ *assert ", text, re.M) for _, text in wanted)
    outputs = [output for cell in code for output in cell.outputs]
    assert not any(output.output_type == "error" for output in outputs)
    # A coloured text is a picture too.
    assert sum(bool({"image/svg+xml", "text/html"} & {*output.get("data", {})}) for output in outputs) >= 2
    assert source.with_suffix(".ipynb").stat().st_size < 1_000_000
