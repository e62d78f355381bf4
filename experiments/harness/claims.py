"""A claim of the paper, and the verdict that results give."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from experiments.harness.table import Table

#: What can become of a claim.
WORDS = ("reproduced", "partly", "not reproduced", "undecided")


class Verdict(NamedTuple):
    """What became of a claim."""

    #: One of `WORDS`.
    word: str
    #: The numbers behind it, seed by seed.
    evidence: str


class Claim(NamedTuple):
    """A sentence of the paper, what it means in this experiment, and the function of the results that judges it."""

    paper: str
    here: str
    judge: Callable[[Table], Verdict]


def verdict(outcomes: Iterable[bool | None], evidence: str) -> Verdict:
    """The verdict of single outcomes, such as those of the seeds.

    `undecided` if fewer than half of them decide; `reproduced` if the claim holds in all, `partly` if in at least half
    of those that decide, else `not reproduced`.

    Args:
        outcomes: whether the claim holds; None where the results don't say, as when no model has learnt the task.
        evidence: for the verdict.
    """
    outcomes = list(outcomes)
    decided = [outcome for outcome in outcomes if outcome is not None]
    if not decided or 2 * len(decided) < len(outcomes):
        word = "undecided"
    elif all(outcomes):
        word = "reproduced"
    else:
        word = "partly" if 2 * sum(decided) >= len(decided) else "not reproduced"
    return Verdict(word, evidence)
