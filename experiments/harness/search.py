"""The search for a learning rate: the same rates for every family, and a choice that knows no claim.

The search of a family is the runs with the setting and the seed of its first training in a table. It keeps the rate
with the fewest steps to a level of accuracy; where several are equal, as those that never reach it, the one with the
least loss.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from experiments.harness.run import Run
from experiments.harness.table import Table, Trial
from experiments.models.families import FAMILIES

#: The accuracy of validation, over tokens, whose first step tells how fast a model has learnt.
LEVEL = 0.95


def kept_rates(table: Table) -> dict[str, float]:
    """The learning rate that each family keeps, of those that are trained."""
    rates, trained = {}, [trial for trial in table.trials() if trial.learning_rate is not None]
    for family in dict.fromkeys(trial.family for trial in trained):
        trials = [trial for trial in trained if trial.family == family]
        searched = [trial for trial in trials if (trial.setting, trial.seed) == (trials[0].setting, trials[0].seed)]
        rates[family] = best(table, searched).learning_rate
    return rates


def best(table: Table, trials: Iterable[Trial]) -> Trial:
    """The run that has learnt the fastest; of equal ones that with the least loss, then with the least rate."""

    def slowness(trial):
        return table.steps_to(trial, "token_accuracy", LEVEL), min(table.curve(trial, "loss")[1]), trial.learning_rate

    return min(trials, key=slowness)


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


def planned(
    make_run: Callable[[str, Any, float, int], Run],
    rungs: Sequence[Any],
    rates: Sequence[float],
    seeds: Sequence[int],
    table: Table,
    families: Iterable[str] = FAMILIES,
) -> list[Run]:
    """The search on the first rung, and every rung and seed for the families whose search has finished.

    Args:
        make_run: a function of the family, the rung, the rate and the seed.
        rungs: from the easiest.
        rates: to search.
        seeds: the first is that of the search.
        table: of the finished runs.
        families: to compare.
    """
    search = {family: [make_run(family, rungs[0], rate, seeds[0]) for rate in rates] for family in families}
    finished = {trial.run for trial in table.trials()}
    decided = [family for family, runs in search.items() if {run.identity for run in runs} <= finished]
    kept = kept_rates(table) if decided else {}
    ladder = [make_run(family, rung, kept[family], seed) for rung in rungs for seed in seeds for family in decided]
    runs = [*(run for runs in search.values() for run in runs), *ladder]
    return list({run.identity: run for run in runs}.values())
