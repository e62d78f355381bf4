"""What the experiments need whose settings are those of the first runs.

Their searches have two or three rates and keep the one with the fewest steps to a level of accuracy; where several are
equal, as those that never reach it, the one with the least loss.
"""

import functools
from collections.abc import Iterable

from experiments.harness import search
from experiments.harness.search import LEVEL
from experiments.harness.table import Table, Trial

#: Of the reports.
RATES = (
    "Learning rates: each family keeps the rate with the fewest steps to 95 % of the tokens, then the one with the "
    "least loss, in the runs of the first setting and seed; every run is above."
)


def best(table: Table, trials: Iterable[Trial]) -> Trial:
    """The run that has learnt the fastest; of equal ones that with the least loss, then with the least rate."""

    def slowness(trial):
        return table.steps_to(trial, "token_accuracy", LEVEL), min(table.curve(trial, "loss")[1]), trial.learning_rate

    return min(trials, key=slowness)


kept_rates = functools.partial(search.kept_rates, choose=best)
is_kept = functools.partial(search.is_kept, choose=best)
trials_by_seed = functools.partial(search.trials_by_seed, choose=best)
planned = functools.partial(search.planned, is_closed=True, choose=best)
