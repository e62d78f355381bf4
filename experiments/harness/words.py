"""Numbers in words, as tables print them."""

import math
from collections.abc import Callable, Iterable, Mapping
from statistics import mean


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


def ranking(
    words: str,
    values: Mapping[str, Iterable[float]],
    number: Callable[[float], str] = percent,
    least_first: bool = False,
) -> str:
    """A finding: names by their mean values, such as `Griffin answers 95.0 %, MQA 10.0`; empty if none was measured.

    Args:
        words: the first of them, with places for its name and its number.
        values: of each name; NaN where nothing was measured.
        number: the words for a mean.
        least_first: the order.
    """
    tested = {name: [value for value in each if not math.isnan(value)] for name, each in values.items()}
    means = {name: mean(each) for name, each in tested.items() if each}
    ranked = sorted(means, key=lambda name: means[name], reverse=not least_first)
    told = [f"{name} {number(means[name])}" for name in ranked[1:]]
    # Some names have a comma of their own.
    first = [words.format(name, number(means[name])) for name in ranked[:1]]
    return ("; " if any("," in name for name in ranked) else ", ").join(first + told)


def without_empty_columns(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """A table without the columns that are empty in every row."""
    return [{name: cell for name, cell in row.items() if any(each[name] for each in rows)} for row in rows]


def markdown(rows: list[dict[str, str]]) -> str:
    """A table in Markdown, with the first row's keys as its head."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
