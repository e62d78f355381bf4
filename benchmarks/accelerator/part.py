"""One part, in a process of its own: `python -m benchmarks.accelerator.part MODULE NAME FILE LIMIT [--quick]`."""

import argparse
import importlib
import math
import os
import time
import traceback
from pathlib import Path

from benchmarks.accelerator import journal

#: What an error says after which the process can do nothing more on its device.
FATAL = ("CUDA error", "CUDA_ERROR", "HIP error")


class Record:
    """What a part's `run` gets: where it writes its results, and whether they are to be few.

    Args:
        path: the file of results.
        part: the part's name.
        quick: whether `--quick` was given.
        limit: seconds after which the part is ended.
    """

    def __init__(self, path: Path, part: str, quick: bool, limit: float = math.inf):
        self.path, self.part, self.quick = path, part, quick
        self._end = time.monotonic() + limit
        self._parent = os.getppid()

    def time_left(self) -> float:
        """The seconds until the part is ended."""
        return self._end - time.monotonic()

    def row(self, table: str, **cells) -> None:
        """A measurement: a row of the table of that title. Numbers stay numbers; None is "not measured"."""
        self._append("row", table=table, cells={name.replace("_", " "): value for name, value in cells.items()})

    def check(self, subject: str, name: str, function, *arguments) -> None:
        """Call a function that raises if the subject fails; whatever it returns is the detail."""
        named = {"subject": subject, "name": name}
        try:
            detail = function(*arguments)
        except Exception as error:
            self._append("check", **named, ok=False, detail=described(error))
            raise_if_fatal(error)
        else:
            self._append("check", **named, ok=True, detail=detail)

    def text(self, title: str, text: str) -> None:
        """Lines to be shown as they are."""
        self._append("text", title=title, text=text)

    def note(self, text: str) -> None:
        """What the part cannot do here, or what a table leaves out."""
        self._append("note", text=text)

    def tried(self, table: str, function, *arguments, **cells) -> None:
        """A row with the cells that a function returns, or with the reason for which it has none."""
        try:
            found = function(*arguments)
        except Exception as error:
            self.row(table, **cells, remark=described(error))
            raise_if_fatal(error)
        else:
            self.row(table, **cells | found)

    def _append(self, event, **values):
        # Whoever started the part may have been killed; another may run by now.
        if os.getppid() != self._parent:
            raise SystemExit("accelerator: the process that started this part has ended.")
        journal.append(self.path, self.part, event, **values)
        print(f"  {' '.join(map(_shown, values.values()))}", flush=True)


def raise_if_fatal(error: Exception) -> None:
    """Raise it if the device is lost to this process: everything after it would fail too, whatever it does."""
    text = str(error)
    is_full = "out of memory" in text.lower().replace("_", " ")
    if any(words in text for words in FATAL) and not is_full:
        raise error


def described(error: BaseException) -> str:
    """An exception in a line of at most 300 characters."""
    return " ".join("".join(traceback.format_exception_only(error)).split())[:300]


def _shown(value):
    if isinstance(value, dict):
        return " ".join(f"{name} {_shown(cell)}" for name, cell in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main():
    """Run the part; an exception is written down, and ends the process with status 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("name")
    parser.add_argument("file", type=Path)
    parser.add_argument("limit", type=float)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    record = Record(options.file, options.name, options.quick, options.limit)
    try:
        importlib.import_module(options.module).run(record)
    except Exception as error:
        traceback.print_exc()
        journal.append(options.file, options.name, "error", text=described(error))
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
