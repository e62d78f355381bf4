"""Long contexts again, of novels in place of source code. Section 6.1, Figure 5."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from experiments import long_context
from experiments.data.long_text import missing, token_batch
from experiments.data.novels import NOVELS, PACKAGE
from experiments.harness.claims import NOT_GIVEN
from experiments.harness.run import Run
from experiments.harness.table import Table
from experiments.harness.training import Test
from experiments.long_context import PAPER, RATES, columns, differs, draw, finding, is_kept, optimizer
from keras_griffin.models import LanguageModel
from keras_griffin.tasks import TaskBatch

__all__ = ["PAPER", "RATES", "columns", "draw", "finding", "is_kept", "optimizer"]

TITLE = "Novels"
FIGURE = "Figure 5"
DIFFERS = differs("five novels by Jane Austen (3.6 MB, Debian's `r-cran-janeaustenr`), while *Persuasion* is held out")
#: What can be read off its curves, claim by claim, why ours may differ, and what the first runs gave.
NUMBERS = (
    ("Hawk and Griffin to at least 4 times 2,048 tokens", "", "partly at 32 times, with one seed"),
    (NOT_GIVEN, "far tokens tell nothing here", ""),
    ("Transformers fail beyond 2,048 tokens", "", ""),
    ("Transformers fail beyond 2,048 tokens", "NoPE hardly uses its context", "undecided, as that was called"),
    ("trained on 8,192 tokens, better from 8,192 on", "far tokens tell nothing here", ""),
    (NOT_GIVEN, "too near to zero", "reproduced unless better by 0.02 nats"),
)
CLAIMS = tuple(
    claim._replace(figure=FIGURE, number=number, why=why, before=before)
    for claim, (number, why, before) in zip(long_context.CLAIMS, NUMBERS, strict=True)
)
#: All windows of the held-out novel.
SIZES = {**long_context.SIZES, "small": replace(long_context.SIZES["small"], windows=64)}


def novels(scale: str) -> Path | None:
    """The file to read where `EXPERIMENTS_TEXT` names none; smoke needs none but the standard library's source."""
    return None if scale == "smoke" else NOVELS


def refusal(scale: str) -> str:
    """Why there is no text to read; empty if there is."""
    text = novels(scale)
    return missing("novels", text, PACKAGE) if text else ""


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The runs of `long_context` on this text."""
    return long_context.runs_on("novels", novels(scale), SIZES[scale], scale, seeds, table)


def make_batch(run: Run, rows: int, seed: int) -> TaskBatch:
    """Windows of the five novels, or for the seeds of validation of the sixth."""
    return token_batch(run, rows, seed, novels(run.scale))


def test(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The tests of `long_context` on the sixth novel."""
    return long_context.test(run, model, novels(run.scale))
