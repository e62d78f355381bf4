"""Run the examples of a Markdown page: each Python block on its own, and the commands of each console block.

    python scripts/page_examples.py README.md

It needs only the packages that the examples import. If a comment on the page says that its examples are one program,
each block continues from those before it. A comment that begins with `<!--python` holds code that readers need not see.
A command follows `$ `; `python` is the interpreter that runs this script. A text block directly below a block shows
what that block prints.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

ONE_PROGRAM = "<!-- The examples of this page are one program. -->"


def examples_of(page: Path) -> list[tuple[str, str, str]]:
    """The blocks of a page that can be run, in order: `python` or `console`, the code, and what it shows, or ""."""
    pattern = r"^(?:```|<!--)(python|console)\n(.*?)^(?:```|-->)\n?(?:\n```text\n(.*?)^```)?"
    return re.findall(pattern, page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def check_output(shown: str, printed: str) -> None:
    """Compare what a page shows with what its example printed, on whichever backend.

    Words and whole numbers must be equal, and numbers with a point to within one unit of the last digit.

    Raises:
        ValueError: they differ.
    """
    number = r"-?\d+\.\d+"
    words = [[part.split() for part in re.split(number, text)] for text in (shown, printed)]
    pairs = zip(*(map(Decimal, re.findall(number, text)) for text in (shown, printed)), strict=False)
    if words[0] != words[1] or not all(
        a.as_tuple().exponent == b.as_tuple().exponent and abs(a - b) <= Decimal(10) ** a.as_tuple().exponent
        for a, b in pairs
    ):
        raise ValueError(f"The page shows\n{shown}\nbut its example printed\n{printed}")


def run_examples(page: Path, folder: Path) -> int:
    """Run the examples of a page in a folder, and return their number.

    Args:
        page: the file.
        folder: where they run. A `README.md` is written there.

    Raises:
        ValueError: one printed something else than the page shows.
    """
    # The README's example trains on the README: a few batches of it.
    (folder / "README.md").write_text(page.read_text("utf-8")[:1500], "utf-8")
    examples = examples_of(page)
    is_one_program = ONE_PROGRAM in page.read_text("utf-8")
    names: dict = {}
    with contextlib.chdir(folder):
        for kind, example, shown in examples:
            if kind == "python":
                names = names if is_one_program else {}
                printed = run_python(example, page.name, names)
            else:
                printed = run_commands(example)
            if shown:
                check_output(shown, printed)
    return len(examples)


def run_python(block: str, name: str, names: dict) -> str:
    """Run a Python block with these names, and return what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block, name, "exec"), names)
    return printed.getvalue()


def run_commands(block: str) -> str:
    """Run the commands of a console block, and return what they wrote to standard output.

    Raises:
        RuntimeError: one failed; its output is the message.
    """
    written = ""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for command in re.findall(r"^\$ ((?:.*\\\n)*.*)", block, re.MULTILINE):
        run = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"{command} ended with {run.returncode}:\n{run.stdout}{run.stderr}")
        written += run.stdout
    return written


def main():
    """Run the examples of a page in a temporary folder."""
    page = Path(sys.argv[1]).resolve()
    # The examples may leave files mapped into memory, which Windows does not remove.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        print(f"{run_examples(page, Path(folder))} examples of {page.name} ran.")


if __name__ == "__main__":
    main()
