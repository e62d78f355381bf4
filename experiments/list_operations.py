"""ListOps: the value of nested lists, each reduced by an operation. Beyond the paper."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.data.list_operations import LIST_OPERATIONS_TOKENS, list_operations
from experiments.harness.claims import Claim, Verdict, verdict
from experiments.harness.plots import Figure, dot, learning_curve, panels
from experiments.harness.run import Run
from experiments.harness.search import planned, trials_by_seed
from experiments.harness.table import Table, Trial
from experiments.harness.training import TESTING, Test, batches, score
from experiments.harness.words import percent, ranking
from experiments.models.families import FAMILIES, STYLES, SYNTHETIC, TINY
from keras_griffin.models import GriffinConfig
from keras_griffin.tasks import TaskBatch

TITLE = "List operations"
FIGURE = "beyond the paper"
PAPER = (
    "Griffin's has no such experiment. On ListOps with rows of up to 2,000 tokens, of the Long Range Arena, Tay et al. "
    "(arXiv 2011.04006) report 36.4 % for a Transformer, and Orvieto et al. (arXiv 2303.06349) 60.2 % for six layers "
    "of LRU."
)
DIFFERS = (
    "Rows of 16 to 128 tokens in place of 500 to 2,000, with lists of at most 5 values and 4 within one another in "
    "place of 10 and 10. A model reads a row from left to right and answers at its end; the Transformer there reads in "
    "both directions. Rows are new in every step. The optimizer is Adam (beta_2 0.99, gradients clipped to norm 1, no "
    "weight decay), with 100 steps of warm-up, then a constant rate. The first operation alone tells more than "
    "nothing, as a MIN is mostly small: the baseline is the share of right answers of the best constant for each "
    "outermost operation."
)
#: Accuracies that differ by less are taken for equal: two standard errors in 2,048 rows.
TOLERANCE = 0.02
#: The operations, and the token with which a list of each opens.
OPERATIONS = {token[1:]: place for place, token in enumerate(LIST_OPERATIONS_TOKENS) if token.startswith("[")}


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    config: GriffinConfig
    #: The most and the fewest tokens of a row.
    length: int
    min_length: int
    max_depth: int
    max_arguments: int
    steps: int
    learning_rates: tuple[float, ...]
    families: tuple[str, ...] = tuple(FAMILIES)
    seeds: tuple[int, ...] = (0, 1, 2)
    batch_size: int = 32
    validate_every: int = 100
    validation_rows: int = 256
    test_rows: int = 2048


SIZES = {
    "smoke": Size(
        config=TINY,
        length=16,
        min_length=5,
        max_depth=2,
        max_arguments=3,
        steps=4,
        learning_rates=(1e-2,),
        # One model, since compiling takes most of the time.
        families=("Griffin",),
        seeds=(0,),
        batch_size=4,
        validate_every=2,
        validation_rows=8,
        test_rows=8,
    ),
    "small": Size(SYNTHETIC, 128, 16, 4, 5, 1000, (1e-3, 3e-3)),
    # The rows of the Long Range Arena, for an accelerator; depth and values are theirs.
    "paper": Size(SYNTHETIC, 2000, 500, 10, 10, 50_000, (3e-4, 1e-3), validate_every=1000),
}


# Runs


def name(min_length: int, length: int) -> str:
    """A setting in words."""
    return f"{min_length:,} to {length:,} tokens"


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The search for a learning rate, then each seed."""
    size = SIZES[scale]

    def run(family, setting, learning_rate, seed):
        return Run(
            experiment="list_operations",
            scale=scale,
            family=family,
            config=size.config.replace(vocabulary_size=len(LIST_OPERATIONS_TOKENS), window=size.length // 2),
            data={
                "length": size.length,
                "min_length": size.min_length,
                "max_depth": size.max_depth,
                "max_arguments": size.max_arguments,
                "test_rows": size.test_rows,
            },
            setting=setting,
            batch_size=size.batch_size,
            steps=size.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every,
            validation_rows=size.validation_rows,
        )

    return planned(
        run, [name(size.min_length, size.length)], size.learning_rates, seeds, table, size.families, is_closed=True
    )


def make_batch(run: Run, rows: int, seed: int) -> TaskBatch:
    """Rows of the task."""
    data = {key: run.data[key] for key in ("length", "min_length", "max_depth", "max_arguments")}
    return list_operations(rows, **data, seed=seed)


def test(run: Run, model) -> Iterator[Test]:
    """The accuracy on new rows, all and by the outermost operation, and that of a constant for each operation."""
    tested = list(batches(run, make_batch, run.data["test_rows"], TESTING))
    answers = np.concatenate([batch.targets[batch.weights > 0] for batch in tested])
    yield run.setting, "test_accuracy", score(model, tested).token_accuracy
    yield run.setting, "baseline", baseline_of(np.concatenate([batch.token_ids[:, 0] for batch in tested]), answers)
    for operation in OPERATIONS:
        yield operation, "test_accuracy", score(model, (only(operation, batch) for batch in tested)).token_accuracy


def baseline_of(first: np.ndarray, answers: np.ndarray) -> float:
    """The accuracy of the best answers that know a row's first token alone: both arguments are `(rows,)`."""
    right = [np.bincount(answers[first == token]).max() for token in np.unique(first)]
    return sum(right) / len(answers)


def only(operation: str, batch: TaskBatch) -> TaskBatch:
    """A batch with the answers alone of the rows whose outermost list has this operation."""
    return batch._replace(weights=batch.weights * (batch.token_ids[:, :1] == OPERATIONS[operation]))


# Claims


def accuracies(table: Table) -> dict[int, dict[str, float]]:
    """The accuracies by seed and family; only seeds in which all are tested."""
    found = {
        seed: {family: table.value(trial, "test_accuracy") for family, trial in runs.items()}
        for seed, runs in trials_by_seed(table, table.settings()[0]).items()
    }
    return {seed: values for seed, values in found.items() if not any(map(math.isnan, values.values()))}


def baseline(table: Table) -> float:
    """The accuracy without the lists; all runs are tested on the same rows."""
    return table.value(table.trials()[0], "baseline")


def all_beat_the_baseline(table: Table) -> Verdict:
    """Each family is better than the baseline by more than the tolerance."""
    level = baseline(table) + TOLERANCE
    found = accuracies(table).values()
    told = [f"{family} {_percents(found, family)}" for family in FAMILIES]
    return verdict(
        [min(values.values()) > level for values in found],
        f"accuracy in %, by seed: {'; '.join(told)}; baseline {percent(baseline(table))}",
    )


def recurrences_are_better(table: Table) -> Verdict:
    """Hawk and Griffin are above the Transformer; undecided within the tolerance and where none beats the baseline."""
    level = baseline(table) + TOLERANCE
    outcomes, told = [], []
    for family in ("Hawk", "Griffin"):
        found = accuracies(table).values()
        gains = [values[family] - values["MQA"] for values in found]
        outcomes += [
            gain > 0 if abs(gain) > TOLERANCE and max(values.values()) > level else None
            for gain, values in zip(gains, found, strict=True)
        ]
        told.append(f"{family} {', '.join(f'{100 * gain:+.1f}' for gain in gains)}")
    return verdict(outcomes, f"accuracy less that of MQA in points, by seed: {'; '.join(told)}")


def _percents(found, family):
    return ", ".join(percent(values[family]) for values in found)


CLAIMS = (
    Claim(
        "A Transformer answers 36.4 %, an LRU 60.2 %",
        "each family more than 2 points above what the outermost operation tells",
        all_beat_the_baseline,
    ),
    Claim(
        "The linear recurrence answers more than the Transformer",
        "Hawk and Griffin more than 2 points above MQA; undecided within 2",
        recurrences_are_better,
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    outermost = {f"{each}, %": percent(table.value(trial, "test_accuracy", each)) for each in OPERATIONS}
    return {"right answers, %": percent(table.value(trial, "test_accuracy")), **outermost}


def finding(table: Table) -> str:
    """The accuracies beside the baseline."""
    shares = {family: [values[family] for values in accuracies(table).values()] for family in FAMILIES}
    told = ranking("{} answers {} %", shares)
    return told and f"{told}; the outermost operation alone tells {percent(baseline(table))} %"


def draw(table: Table) -> Figure:
    """Accuracy against steps, and of the trained models by the outermost operation."""
    figure, (course, outermost) = panels(2, widths=(3, 2))
    for runs in trials_by_seed(table, table.settings()[0]).values():
        for shift, (family, trial) in enumerate(runs.items()):
            learning_curve(course, STYLES[family], *table.curve(trial, "token_accuracy"))
            for place, operation in enumerate(OPERATIONS):
                share = table.value(trial, "test_accuracy", operation)
                dot(outermost, STYLES[family], place + 0.22 * (shift - 1), 100 * share)
    for axes in (course, outermost):
        axes.axhline(100 * baseline(table), color="gray", linestyle=":", linewidth=1)
        axes.set(ylim=(0, 100), ylabel="right answers, %")
    course.set(
        title=f"List operations, {table.settings()[0]}", xlabel="steps\n(dotted: knowing the first operation alone)"
    )
    outermost.set(title="Trained", xlabel="outermost operation")
    outermost.set_xticks(range(len(OPERATIONS)), OPERATIONS)
    outermost.set_xlim(-0.5, len(OPERATIONS) - 0.5)
    return figure
