"""Numbers that are measured with a range, and comparisons that a range may leave undecided."""

from typing import NamedTuple


class Range(NamedTuple):
    """A number, and the ends of its range."""

    number: float
    least: float
    greatest: float

    def over(self, other: "Range") -> "Range":
        """The ratio of two."""
        return Range(self.number / other.number, self.least / other.greatest, self.greatest / other.least)


def is_less(one: Range, other: Range) -> bool | None:
    """Whether a number is less than another; None where their ranges overlap, or there is none."""
    if one.greatest < other.least:
        return True
    return False if one.least > other.greatest else None


def all_hold(*outcomes: bool | None) -> bool | None:
    """Whether all hold; None where that depends on one that is undecided, or there is none."""
    return False if False in outcomes else None if None in outcomes or not outcomes else True
