"""Tables of results that nobody has trained."""

import math

from experiments.harness.run import Run
from experiments.harness.runner import rows_of
from experiments.harness.table import Table
from experiments.harness.training import Measurement

FACTS = {"machine": "made up", "versions": "none", "commit": "none"}


def results(run: Run, steps_to_95: float, tests=()):
    """The rows of a run that has 95 % of the tokens after so many steps, or never, and these tests."""
    measured = [
        Measurement(run.setting, 0, "parameters", 250_000),
        Measurement(run.setting, 0, "flops_per_token", 1.6e6),
    ]
    for step in range(run.validate_every, run.steps + 1, run.validate_every):
        share = 0.06 + 0.94 / (1 + math.exp(-3 - 8 * (step - steps_to_95 - 1) / min(steps_to_95, 1e9)))
        measured += [
            Measurement(run.setting, step, "loss", 3 * (1 - share)),
            Measurement(run.setting, step, "token_accuracy", share),
            Measurement(run.setting, step, "row_accuracy", share**8),
        ]
    measured += [Measurement(setting, run.steps, metric, value) for setting, metric, value in tests]
    return rows_of(run, [*measured, Measurement(run.setting, run.steps, "seconds", 100.0)], FACTS)


def soonest_at(rate):
    """A function of a run: its steps to 95 %, fewest at a rate, so that a search ends there."""
    return lambda run: 500 * (1 + abs(math.log2(run.learning_rate / rate)))


def carried_out(module, scale, seeds, steps_to_95, tests=lambda run: ()):
    """The table of all runs of an experiment; `steps_to_95` and `tests` are functions of a run."""
    table = Table()
    while True:
        runs = module.plan(scale, seeds, table)
        found = Table(row for run in runs for row in results(run, steps_to_95(run), tests(run)))
        if len(found.rows) == len(table.rows):
            return table
        table = found
