"""Write the tables of docs/scaling.md: predictions from sizes, and the measurements of scaling.py.

    python benchmarks/scaling_tables.py

A table is between `<!-- name -->` and `<!-- end -->`, with a name from `TABLES`.
"""

import re
from pathlib import Path

from keras_griffin.files import atomic_file
from keras_griffin.inspection import Device, decode_table
from keras_griffin.inspection.decode_table import cache_table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "scaling.md"
RESULTS = ROOT / "benchmarks" / "results" / "scaling-cpu-1-core.md"


def filled(page: str, results: str) -> str:
    """The page with every table filled in.

    Args:
        page: Markdown.
        results: the output of scaling.py; empty if it has not been run.
    """

    def table(match):
        return f"<!-- {match[1]} -->\n\n{TABLES[match[1]](results)}\n\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


def measured_table(results: str, title: str) -> str:
    """The first table under a heading that begins with `title`."""
    found = re.search(rf"^### {title}.*\n\n((?:\|.*\n)+)", results, re.MULTILINE)
    return found[1].strip() if found else "Not measured yet."


def measured_device(results: str) -> Device:
    """The machine of the first run of scaling.py."""
    processor = re.search(r"^(.*?)\. Python", results, re.MULTILINE)[1]
    rows = ("memory, GB", "memory read, GB a second", "products of matrices in float32, GFLOP a second")
    numbers = [1e9 * float(re.search(rf"^\| {row} \| ([\d.]+) \|$", results, re.MULTILINE)[1]) for row in rows]
    return Device(processor, *numbers)


def machine_table(results: str) -> str:
    """Predictions for the machine on which scaling.py ran."""
    return decode_table(measured_device(results)) if results else "Not measured yet."


#: Each table of the page by name, as a function of the output of scaling.py.
TABLES = {
    "training": lambda results: measured_table(results, "A training step"),
    "decoding": lambda results: measured_table(results, "A decoding step"),
    "caches": lambda _: cache_table(),
    "tpu_v5e": lambda _: decode_table("tpu_v5e"),
    "h100_sxm": lambda _: decode_table("h100_sxm"),
    "speed": lambda results: measured_table(results, "This machine"),
    "machine": machine_table,
}


def main():
    """Update the page."""
    results = RESULTS.read_text() if RESULTS.exists() else ""
    page = filled(PAGE.read_text(), results)
    with atomic_file(PAGE) as aside:
        aside.write_text(page)


if __name__ == "__main__":
    main()
