"""Run the Python examples of a Markdown page, each on its own.

    python scripts/page_examples.py README.md

It needs only the packages that the examples import.
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
    """Run the examples of a page in a folder, and return their number.

    Args:
        page: the file.
        folder: where they run. A `README.md` is written there.
    """
    # The README's example trains on the README: a few batches of it.
    (folder / "README.md").write_text(page.read_text("utf-8")[:1500], "utf-8")
    examples = examples_of(page)
    with contextlib.chdir(folder):
        for example in examples:
            exec(compile(example, page.name, "exec"), {})
    return len(examples)


def main():
    """Run the examples of a page in a temporary folder."""
    page = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{run_examples(page, Path(folder))} examples of {page.name} ran.")


if __name__ == "__main__":
    main()
