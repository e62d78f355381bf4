"""Numbers in words, as tables print them."""

import math


def percent(share: float) -> str:
    """A share in per cent; empty where there is none."""
    return "" if math.isnan(share) else f"{100 * share:.1f}"


def count(number: float) -> str:
    """A count; `never` where it is infinite, empty where there is none."""
    return "" if math.isnan(number) else f"{number:,.0f}" if math.isfinite(number) else "never"


def millions(number: float) -> str:
    """A count in millions; empty where there is none."""
    return "" if math.isnan(number) else f"{number / 1e6:.2f}"


def rate(number: float | None) -> str:
    """A learning rate; empty where nothing is trained."""
    return "" if number is None else f"{number:g}"


def markdown(rows: list[dict[str, str]]) -> str:
    """A table in Markdown, with the first row's keys as its head."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
