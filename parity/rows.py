"""Rows of the table in which everything ends."""

import json
from pathlib import Path

#: How far float32 logits may be from a reference's.
LIMIT = 2e-5
HEADS = ("case", "what", "reference")


def row(case, what, reference, value, limit=LIMIT, ok=None, note=""):
    """One judgement: `value` is a difference, or the name of an error; it holds when it is within the limit."""
    ok = value <= limit if ok is None else ok
    return {"case": case, "what": what, "reference": reference, "value": value, "limit": limit, "ok": ok, "note": note}


def write_rows(folder, column, rows):
    """Keep the rows that one process judged, under the name of their column."""
    path = Path(folder) / f"rows-{column}.json"
    path.write_text(json.dumps(rows))


def read_rows(folder, column):
    """The rows of a column; none where its process came to no end."""
    path = Path(folder) / f"rows-{column}.json"
    return json.loads(path.read_text()) if path.exists() else []


def table(columns):
    """The rows of every column side by side, and a closing line.

    Args:
        columns: rows by the column's name.

    Returns:
        `(text, ok)`.
    """
    merged = {}
    for column, rows in columns.items():
        for entry in rows:
            merged.setdefault(tuple(entry[head] for head in HEADS), {})[column] = entry
    lines = [[*HEADS, *columns, "limit", "ok"]]
    for key, entries in merged.items():
        cells = [_cell(entries.get(column)) for column in columns]
        limit = min(entry["limit"] for entry in entries.values())
        ok = all(entry["ok"] for entry in entries.values())
        lines.append([*key, *cells, f"{limit:g}", "ok" if ok else "FAILED"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in lines)
    failed = sum(line[-1] == "FAILED" for line in lines)
    silent = "".join(f"; of {column} there is nothing" for column, rows in columns.items() if not rows)
    return f"{text}\n\n{len(merged)} comparisons, {failed} failed{silent}", not failed and not silent


def _cell(entry):
    if entry is None:
        return ""
    value = entry["value"] if isinstance(entry["value"], str) else f"{entry['value']:.2g}"
    return f"{value} {entry['note']}".strip()
