"""Run the examples of a Markdown page: each Python block on its own, and the commands of each console block.

    python scripts/page_examples.py README.md

It needs only the packages that the examples import. If a comment on the page says that its examples are one program,
each block continues from those before it. A comment that begins with `<!--python` holds code that readers need not see.
A command follows `$ `; `python` is the interpreter that runs this script.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ONE_PROGRAM = "<!-- The examples of this page are one program. -->"


def examples_of(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page that can be run, in order: `python` or `console`, and the text."""
    return re.findall(
        r"^(?:```|<!--)(python|console)\n(.*?)^(?:```|-->)", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def run_examples(page: Path, folder: Path) -> int:
    """Run the examples of a page in a folder, and return their number.

    Args:
        page: the file.
        folder: where they run. A `README.md` is written there.
    """
    # The README's example trains on the README: a few batches of it.
    (folder / "README.md").write_text(page.read_text("utf-8")[:1500], "utf-8")
    examples = examples_of(page)
    is_one_program = ONE_PROGRAM in page.read_text("utf-8")
    names: dict = {}
    with contextlib.chdir(folder):
        for kind, example in examples:
            if kind == "python":
                names = names if is_one_program else {}
                exec(compile(example, page.name, "exec"), names)
            else:
                run_commands(example)
    return len(examples)


def run_commands(block: str) -> None:
    """Run the commands of a console block.

    Raises:
        RuntimeError: one failed; its output is the message.
    """
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for command in re.findall(r"^\$ ((?:.*\\\n)*.*)", block, re.MULTILINE):
        run = subprocess.run(
            command, shell=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if run.returncode:
            raise RuntimeError(f"{command} ended with {run.returncode}:\n{run.stdout}")


def main():
    """Run the examples of a page in a temporary folder."""
    page = Path(sys.argv[1]).resolve()
    # The examples may leave files mapped into memory, which Windows does not remove.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        print(f"{run_examples(page, Path(folder))} examples of {page.name} ran.")


if __name__ == "__main__":
    main()
