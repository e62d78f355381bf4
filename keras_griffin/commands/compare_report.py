"""The result of `compare`: a table, and its files."""

import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keras_griffin.files import atomic_file

#: The files in the folder of a comparison.
LINES, TABLE, PICTURE = "comparison.csv", "comparison.md", "comparison.png"


class Line(NamedTuple):
    """What was measured of one model; a field's name is a column of the CSV file."""

    mixers: str
    parameters: int
    #: On the held-out text.
    bits_per_byte: float
    #: What single bytes need there, by their frequencies alone.
    frequency_bits_per_byte: float
    #: In training.
    tokens_per_second: float
    #: For one row after as many tokens as a window of training has.
    ms_per_token: float
    #: Of one row.
    state_bytes: float

    @property
    def is_too_short(self) -> bool:
        """Whether the model predicts no better than frequencies: it has not begun to learn what a mixer is for."""
        return not self.bits_per_byte < self.frequency_bits_per_byte


#: By column of the table, the field and its format.
COLUMNS = {
    "mixers": ("mixers", "{}"),
    "parameters": ("parameters", "{:,}"),
    "bits per byte": ("bits_per_byte", "{:.3f}"),
    "tokens/s": ("tokens_per_second", "{:,.0f}"),
    "ms a token": ("ms_per_token", "{:.2f}"),
    "state bytes": ("state_bytes", "{:,.0f}"),
}


def table(lines: Sequence[Line]) -> str:
    """The lines in Markdown, in columns that a terminal shows straight."""
    cells = [[*COLUMNS], *([form.format(getattr(line, field)) for field, form in COLUMNS.values()] for line in lines)]
    for row, line in zip(cells[1:], lines, strict=True):
        row[2] += "*" if line.is_too_short else ""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = [[name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])] for name, *numbers in cells]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def note(lines: Sequence[Line]) -> str:
    """What the mark in the table means, after an empty line; empty if no line has it."""
    if not any(line.is_too_short for line in lines):
        return ""
    bits = lines[0].frequency_bits_per_byte
    return (
        "\n\nMarked with *: too short to compare, no better than the frequencies of single\n"
        f"bytes, {bits:.3f} bits. Give more --minutes or --steps, or fewer --mixers."
    )


def write(lines: Sequence[Line], title: str, folder: Path) -> list[str]:
    """Write the files of a comparison, each atomically; returns their names.

    Args:
        lines: of the models that are finished.
        title: above the table and the plot.
        folder: it exists.
    """
    with atomic_file(folder / LINES) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([Line._fields, *lines])
    with atomic_file(folder / TABLE) as path:
        path.write_text(f"# {title}\n\n{table(lines)}{note(lines)}\n", encoding="utf-8", errors="replace")
    # Installed with the extra `viz`.
    if importlib.util.find_spec("matplotlib") is None:
        return [LINES, TABLE]
    with atomic_file(folder / PICTURE) as path:
        draw(lines, title, path)
    return [LINES, TABLE, PICTURE]


def draw(lines: Sequence[Line], title: str, path: Path) -> None:
    """Plot bits per byte against the speed of training, and against the bytes of the state; needs matplotlib."""
    # Without pyplot, the user's plotting state is untouched and no display is needed.
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    fields = {"tokens_per_second": "tokens/s in training", "state_bytes": "state bytes"}
    for axes, (field, label) in zip(figure.subplots(1, 2, sharey=True), fields.items(), strict=True):
        for line in lines:
            point = getattr(line, field), line.bits_per_byte
            axes.plot(*point, "o", fillstyle="none" if line.is_too_short else "full")
            axes.annotate(line.mixers, point, xytext=(5, 4), textcoords="offset points", fontsize=8)
        values = [getattr(line, field) for line in lines]
        # Between values that are close there may be no power of two, and so no tick.
        if max(values) > 8 * min(values):
            axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        # Room for the last names.
        axes.margins(x=0.25, y=0.15)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("bits per byte, held out")
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
