"""A claim of the paper, and the verdict that results give."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from experiments.harness.table import Table

#: The number of a claim whose figure has lost its labels.
NOT_GIVEN = "not given"
#: What no number of runs decides here, as where no model of this size uses what the claim is about.
NOT_TESTABLE = "not testable here"
#: What can become of a claim.
WORDS = ("reproduced", "partly", "not reproduced", "undecided", NOT_TESTABLE)


class Verdict(NamedTuple):
    """What became of a claim."""

    #: One of `WORDS`.
    word: str
    #: The numbers behind it, seed by seed.
    evidence: str
    #: The number beside the paper's, in a few words.
    ours: str = ""


class Claim(NamedTuple):
    """A sentence of the paper, what it means in this experiment, and the function of the results that judges it."""

    paper: str
    here: str
    judge: Callable[[Table], Verdict]
    #: Of the paper; empty if the claim is not the paper's.
    figure: str = ""
    #: The paper's number, or what can be read off its figure; `NOT_GIVEN` if nothing can. It stands below the plot too.
    number: str = ""
    #: Why it may not be reproduced, in about five words.
    why: str = ""
    #: The verdict of earlier runs, and what was different then; empty if there were none.
    before: str = ""


def verdict(outcomes: Iterable[bool | None], evidence: str, ours: str = "") -> Verdict:
    """The verdict of single outcomes, such as those of the seeds.

    `undecided` if fewer than half of them decide; `reproduced` if the claim holds in all, `partly` if in at least half
    of those that decide, else `not reproduced`.

    Args:
        outcomes: whether the claim holds; None where the results don't say, as when no model has learnt the task.
        evidence: for the verdict.
        ours: as in `Verdict`.
    """
    outcomes = list(outcomes)
    decided = [outcome for outcome in outcomes if outcome is not None]
    if not decided or 2 * len(decided) < len(outcomes):
        word = "undecided"
    elif all(outcomes):
        word = "reproduced"
    else:
        word = "partly" if 2 * sum(decided) >= len(decided) else "not reproduced"
    return Verdict(word, evidence, ours)
