"""The search for a learning rate: the same rates for every family, and a choice that knows no claim.

The search of a family is the runs with the setting and the seed of its first training in a table. It keeps the rate
with the least validation loss, and goes on until that lies between two others that were tried: a best rate at the edge
of a search says where the search ended, not which rate is best.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from experiments.harness.run import Run
from experiments.harness.table import Table, Trial
from experiments.models.families import FAMILIES

#: The accuracy of validation, over tokens, whose first step tells how fast a model has learnt.
LEVEL = 0.95
#: Rates of a search that goes on are so many times the one beside them, and together at most so many.
FACTOR, MOST = 2, 10


def best(table: Table, trials: Iterable[Trial]) -> Trial:
    """The run with the least validation loss; of equal ones that with the least rate."""

    def badness(trial):
        losses = [loss for loss in table.curve(trial, "loss")[1] if not math.isnan(loss)]
        return min(losses, default=math.inf), trial.learning_rate

    return min(trials, key=badness)


def kept_rates(table: Table) -> dict[str, float]:
    """The learning rate that each family keeps, of those that are trained."""
    return {family: best(table, trials).learning_rate for family, trials in searches(table).items()}


def searches(table: Table) -> dict[str, list[Trial]]:
    """The runs of each family's search, of those that are trained."""
    found, trained = {}, [trial for trial in table.trials() if trial.learning_rate is not None]
    for family in dict.fromkeys(trial.family for trial in trained):
        trials = [trial for trial in trained if trial.family == family]
        found[family] = [each for each in trials if (each.setting, each.seed) == (trials[0].setting, trials[0].seed)]
    return found


def is_kept(table: Table, trial: Trial) -> bool:
    """Whether a run has the learning rate that its family keeps, or none."""
    return trial.learning_rate == kept_rates(table).get(trial.family, trial.learning_rate)


def is_kept_in_its_setting(table: Table, trial: Trial) -> bool:
    """The same where each setting has a search of its own."""
    return is_kept(table.part(trial.setting), trial)


def kept_trials(table: Table, family: str, setting: str) -> list[Trial]:
    """A family's runs in a setting at the rate that it keeps."""
    rates = kept_rates(table)
    return [trial for trial in table.trials(family, setting) if trial.learning_rate == rates[trial.family]]


def trials_by_seed(table: Table, setting: str, families: Iterable[str] = FAMILIES) -> dict[int, dict[str, Trial]]:
    """The runs in a setting at the rates that were kept, by seed and family; only seeds that every family has."""
    families = tuple(families)
    rates = kept_rates(table)
    seeds: dict[int, dict[str, Trial]] = {}
    for trial in table.trials(setting=setting):
        if trial.learning_rate == rates[trial.family]:
            seeds.setdefault(trial.seed, {})[trial.family] = trial
    return {
        seed: {family: trials[family] for family in families}
        for seed, trials in sorted(seeds.items())
        if set(trials) >= set(families)
    }


def searched(
    make_run: Callable[[float], Run],
    rates: Sequence[float],
    table: Table,
    *,
    is_closed: bool = False,
) -> tuple[list[Run], float | None]:
    """The runs of a search as far as it is known, and the rate that it keeps once it has ended.

    Args:
        make_run: a function of the rate.
        rates: to begin with; a single one is kept without a search.
        table: of the finished runs.
        is_closed: whether no other rates are tried.
    """
    runs = {rate: make_run(rate) for rate in rates}
    while True:
        identities = {run.identity for run in runs.values()}
        trials = [trial for trial in table.trials() if trial.run in identities]
        if len(trials) < len(runs):
            return list(runs.values()), None
        kept = best(table, trials).learning_rate
        tried = sorted(runs)
        if is_closed or len(rates) == 1 or len(tried) >= MOST or tried[0] < kept < tried[-1]:
            return list(runs.values()), kept
        # Digits that a table keeps.
        rate = float(f"{FACTOR * kept if kept == tried[-1] else kept / FACTOR:.6g}")
        runs[rate] = make_run(rate)


def planned(
    make_run: Callable[[str, Any, float, int], Run],
    rungs: Sequence[Any],
    rates: Sequence[float],
    seeds: Sequence[int],
    table: Table,
    families: Iterable[str] = FAMILIES,
    *,
    is_closed: bool = False,
) -> list[Run]:
    """The search on the first rung, and every rung and seed for the families whose search has ended.

    Args:
        make_run: a function of the family, the rung, the rate and the seed.
        rungs: from the easiest.
        rates: to search, as for `searched`.
        seeds: the first is that of the search.
        table: of the finished runs.
        families: to compare.
        is_closed: as for `searched`.
    """
    runs, kept = [], {}
    for family in families:

        def own(rate, family=family):
            return make_run(family, rungs[0], rate, seeds[0])

        tried, rate = searched(own, rates, table, is_closed=is_closed)
        runs += tried
        if rate is not None:
            kept[family] = rate
    runs += [make_run(family, rung, rate, seed) for rung in rungs for seed in seeds for family, rate in kept.items()]
    return list({run.identity: run for run in runs}.values())
