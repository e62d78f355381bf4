"""Run the Python examples of a page in Markdown, each by itself.

    python scripts/page_examples.py README.md

It needs nothing but what the examples import.
"""

import contextlib
import re
import sys
import tempfile
from pathlib import Path


def examples_of(page: Path) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def run_examples(page: Path, folder: Path) -> int:
    """Run the examples of a page in a folder, and say how many there are.

    Args:
        page: the file.
        folder: where they run. It gets a `README.md`.
    """
    # The README's example trains on the README: a few batches of it.
    (folder / "README.md").write_text(page.read_text("utf-8")[:1500], "utf-8")
    examples = examples_of(page)
    with contextlib.chdir(folder):
        for example in examples:
            exec(compile(example, page.name, "exec"), {})
    return len(examples)


def main():
    """Run the examples of a page in a folder of their own."""
    page = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{run_examples(page, Path(folder))} examples of {page.name} ran.")


if __name__ == "__main__":
    main()
