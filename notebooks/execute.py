"""Run each notebook's source and write it with its outputs beside it.

python notebooks/execute.py
"""

from pathlib import Path

import jupytext
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent


def main():
    """Execute every source."""
    for source in sorted(FOLDER.glob("[0-9]*.py")):
        notebook = jupytext.read(source)
        NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": FOLDER}}).execute()
        for cell in notebook.cells:
            # What libraries print on stderr, with paths and times of this machine, is no part of the lesson.
            if "outputs" in cell:
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            cell.metadata.pop("execution", None)
        target = source.with_suffix(".ipynb")
        jupytext.write(notebook, target.with_suffix(".tmp.ipynb"))
        target.with_suffix(".tmp.ipynb").replace(target)
        print(target.name)


if __name__ == "__main__":
    main()
