"""The file of results: one JSON object a line, appended as it comes.

A line has the part's name, an event, and what belongs to that:

    begin   time, quick, commit
    row     table, cells: a measurement, by the names of its columns
    check   subject, name, ok, detail
    text    title, text
    note    text: what the part cannot do here, or what a table leaves out
    error   text: the exception that ended the part
    end     outcome ("done", "failed" or "out of time"), reason, seconds

A process that is killed while it writes leaves a broken last line, which is skipped.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Attempt:
    """The last time that a part was run."""

    begin: dict
    results: list[dict] = field(default_factory=list)
    #: None if the part, or the whole run, was killed.
    end: dict | None = None

    @property
    def is_done(self) -> bool:
        """Whether the part has ended well."""
        return self.end is not None and self.end["outcome"] == "done"

    @property
    def failed_checks(self) -> list[dict]:
        """The checks that failed."""
        return [result for result in self.results if result["event"] == "check" and not result["ok"]]


def append(path: Path, part: str, event: str, **values) -> None:
    """Write a line, and see it to the file."""
    line = json.dumps({"part": part, "event": event, **values}) + "\n"
    with path.open("ab") as file:
        file.write(b"\n" * _ends_within_a_line(path) + line.encode())


def read(path: Path) -> dict[str, Attempt]:
    """The last attempt at each part, by its name; none if there is no such file."""
    attempts = {}
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        part = record.pop("part")
        if record["event"] == "begin":
            attempts[part] = Attempt(record)
        elif record["event"] == "end":
            attempts[part].end = record
        else:
            attempts[part].results.append(record)
    return attempts


def _ends_within_a_line(path):
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
