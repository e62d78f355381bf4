"""Run notebooks' sources, and write each with its outputs beside it.

    python notebooks/execute.py
    python notebooks/execute.py 03_from_lstm

A source is Python that jupytext reads as a notebook. Its assertions hold here in full; with NOTEBOOK_SMALL in the
environment, as the tests run it, it trains for a few steps and asserts what needs no training.
"""

import argparse
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
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}"
    )
    chosen = parser.parse_args().names or names
    if unknown := set(chosen) - set(names):
        parser.error(
            f"the notebooks are {', '.join(names)}. Got {', '.join(sorted(unknown))}."
        )
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
    )
    client.execute()
    for cell in notebook.cells:
        # What libraries print on stderr, with paths and times of this machine, is no part of the lesson.
        if "outputs" in cell:
            cell.outputs = [
                output for output in cell.outputs if output.get("name") != "stderr"
            ]
        cell.metadata.pop("execution", None)
    target = source.with_suffix(".ipynb")
    jupytext.write(notebook, target.with_suffix(".tmp.ipynb"))
    target.with_suffix(".tmp.ipynb").replace(target)


if __name__ == "__main__":
    main()
