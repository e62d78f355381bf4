"""The results of an experiment as a long table, and its CSV file, from which everything else is made.

    run, family, seed, learning_rate, setting, step, metric, value

A run's first row has the metric `parameters`, and the setting in which the run trains; a row of another setting is a
test of the trained model there. The learning rate is empty if nothing is trained.
"""

import csv
import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_griffin.files import atomic_file


class Row(NamedTuple):
    """A line of the CSV file: texts, so that a table is read as it was written."""

    run: str
    family: str
    seed: str
    learning_rate: str
    setting: str
    step: str
    metric: str
    value: str


class Trial(NamedTuple):
    """What a table says of a run as a whole."""

    run: str
    family: str
    seed: int
    learning_rate: float | None
    setting: str


class Table:
    """Rows, and what can be asked of them."""

    def __init__(self, rows: Iterable[Sequence[str]] = ()):
        self.rows = [Row(*row) for row in rows]
        self._values: dict[tuple[str, str, str], list[tuple[int, str]]] = {}
        for row in self.rows:
            self._values.setdefault((row.run, row.setting, row.metric), []).append((int(row.step), row.value))

    @classmethod
    def read(cls, path: Path) -> "Table":
        """The table in a CSV file.

        Raises:
            ValueError: it has other columns, or a line is cut off.
        """
        # What is no text has no such columns either.
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if tuple(header) != Row._fields:
            raise ValueError(f"Table: {path} must have the columns {', '.join(Row._fields)}. Got {', '.join(header)}.")
        cut = next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None)
        if cut:
            raise ValueError(f"Table: every line of {path} must have {len(header)} values. Got another in line {cut}.")
        return cls(rows)

    def write(self, path: Path) -> None:
        """Write the table as a CSV file."""
        with atomic_file(path) as aside, aside.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([Row._fields, *self.rows])

    def rows_by_run(self) -> dict[str, list[Row]]:
        """The rows of each run, by its name."""
        runs: dict[str, list[Row]] = {}
        for row in self.rows:
            runs.setdefault(row.run, []).append(row)
        return runs

    def trials(self, family: str | None = None, setting: str | None = None) -> list[Trial]:
        """The runs in their order: all, or those of a family or a setting."""
        return [
            Trial(row.run, row.family, int(row.seed), _number(row.learning_rate), row.setting)
            for row in self.rows
            if row.metric == "parameters" and row.family == (family or row.family)
            if row.setting == (setting or row.setting)
        ]

    def settings(self) -> list[str]:
        """The settings in which runs train."""
        return list(dict.fromkeys(trial.setting for trial in self.trials()))

    def part(self, setting: str) -> "Table":
        """The table of the runs that train in a setting."""
        runs = {trial.run for trial in self.trials(setting=setting)}
        return Table(row for row in self.rows if row.run in runs)

    def tests(self, trial: Trial, metric: str) -> list[str]:
        """The settings in which a trained model has been tested."""
        return [setting for run, setting, name in self._values if (run, name) == (trial.run, metric)]

    def curve(self, trial: Trial, metric: str) -> tuple[list[int], list[float]]:
        """The steps and values of a measure in training."""
        values = self._values.get((trial.run, trial.setting, metric), [])
        return [step for step, _ in values], [float(value) for _, value in values]

    def text(self, trial: Trial, metric: str, setting: str | None = None) -> str:
        """The last value of a measure; empty if there is none."""
        values = self._values.get((trial.run, setting or trial.setting, metric))
        return values[-1][1] if values else ""

    def value(self, trial: Trial, metric: str, setting: str | None = None) -> float:
        """The last value of a measure as a number; NaN if there is none."""
        return float(self.text(trial, metric, setting) or math.nan)

    def last_step(self, trial: Trial) -> int:
        """The step at which a run ended."""
        return self._values[trial.run, trial.setting, "seconds"][-1][0]

    def steps_to(self, trial: Trial, metric: str, level: float) -> float:
        """The first step at which a measure has reached a level; infinite if it never has."""
        return next((step for step, value in zip(*self.curve(trial, metric), strict=True) if value >= level), math.inf)

    def area_above(self, trial: Trial, metric: str) -> float:
        """The area between the curve of a share and 1: the steps that a model has lost until it answers all.

        sum_i (1 - value_i) (step_i - step_{i - 1}),  step_0 = 0
        """
        steps, values = self.curve(trial, metric)
        lengths = (step - before for before, step in itertools.pairwise([0, *steps]))
        return sum((1 - value) * length for value, length in zip(values, lengths, strict=True))


def _number(text):
    return float(text) if text else None
