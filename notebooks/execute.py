"""Run notebooks' sources, and write each with its outputs beside it.

    python notebooks/execute.py
    python notebooks/execute.py 02_from_lstm

A source is Python that jupytext reads as a notebook. Its cells with the tag `test` run and are not written: here they
assert in full what the text says. With NOTEBOOK_SMALL in the environment, as the tests run a source, they make it train
for a few steps and assert what needs no training. Figures are SVG.
"""

import argparse
import itertools
import os
import time
from pathlib import Path

import jupytext
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent


def main():
    """Execute the sources named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [source.stem for source in sorted(FOLDER.glob("[0-9]*.py"))]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    chosen = parser.parse_args().names or names
    if unknown := set(chosen) - set(names):
        parser.error(f"the notebooks are {', '.join(names)}. Got {', '.join(sorted(unknown))}.")
    # Each runs whole, on the backend that it names.
    for name in ("NOTEBOOK_SMALL", "KERAS_BACKEND"):
        os.environ.pop(name, None)
    for name in chosen:
        started = time.perf_counter()
        execute(FOLDER / f"{name}.py")
        print(f"{name}.ipynb: {time.perf_counter() - started:.0f} s", flush=True)


def execute(source):
    """Write the notebook of one source, whole or not at all."""
    notebook = jupytext.read(source)
    client = NotebookClient(
        notebook,
        timeout=1200,
        resources={"metadata": {"path": FOLDER}},
        coalesce_streams=True,
        extra_arguments=["--InlineBackend.figure_formats=svg"],
    )
    client.execute()
    notebook.cells = [cell for cell in notebook.cells if not is_of_tests(cell)]
    ran = itertools.count(1)
    for place, cell in enumerate(notebook.cells):
        # Not at random, so that a notebook that has not changed is the same file.
        cell.id = f"cell-{place}"
        # What libraries print on stderr, with paths and times of this machine, is no part of the lesson.
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            cell.execution_count = next(ran)
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = cell.execution_count
        cell.metadata.pop("execution", None)
    target = source.with_suffix(".ipynb")
    jupytext.write(notebook, target.with_suffix(".tmp.ipynb"))
    target.with_suffix(".tmp.ipynb").replace(target)


def is_of_tests(cell):
    """Whether a cell is for the tests, and not for a reader."""
    return "test" in cell.metadata.get("tags", [])


if __name__ == "__main__":
    main()
