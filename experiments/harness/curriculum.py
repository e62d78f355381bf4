"""Rows that grow: in the first steps they are short, and so many more that every batch has as many tokens."""

from experiments.harness.run import Run
from experiments.harness.training import TRAINING

#: From which share of the steps on rows have one over so many of the full length.
GROWING = ((0.0, 8), (0.3, 4), (0.45, 2), (0.6, 1))


def part_of(run: Run, seed: int) -> int:
    """The rows of a batch are one over so many of the full length, and so many times as many.

    Args:
        run: its data have a `curriculum`, such as `GROWING`.
        seed: of the batch: in training its step; others have the full length.
    """
    progress = (seed % TRAINING) / run.steps if seed >= TRAINING else 1.0
    # The last stage whose start has been reached.
    return [part for start, part in run.data["curriculum"] if start <= progress][-1]
