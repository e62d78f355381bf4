"""Rows that grow: in the first steps they are short, and so many more that every batch has as many tokens."""

from experiments.harness.run import Run
from experiments.harness.training import TRAINING

#: From which share of the steps on rows have one over so many of the full length.
GROWING = ((0.0, 8), (0.3, 4), (0.45, 2), (0.6, 1))


def shape_of(run: Run, rows: int, seed: int, length: int | None = None) -> tuple[int, int]:
    """The rows of a batch and their length: in training those at the step of a seed, else of the full length.

    Args:
        run: its data have the full `length` and a `curriculum`, such as `GROWING`.
        rows: of the full length.
        seed: of the batch.
        length: another one, at any seed.
    """
    full = run.data["length"]
    if length is not None or seed < TRAINING:
        return rows, length or full
    progress = (seed % TRAINING) / run.steps
    # The last stage whose start has been reached.
    part = [part for start, part in run.data["curriculum"] if start <= progress][-1]
    return rows * part, full // part
