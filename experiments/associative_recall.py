"""Associative recall: pairs of a key and a value, then every key is asked once. Beyond the paper: MQAR."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from experiments.data.associative_recall import associative_recall
from experiments.harness import earlier
from experiments.harness.claims import Claim, Verdict, verdict
from experiments.harness.earlier import planned, trials_by_seed
from experiments.harness.plots import Figure, line, panels
from experiments.harness.run import Run
from experiments.harness.search import LEVEL
from experiments.harness.table import Table, Trial
from experiments.harness.training import TESTING, Test, batches, score
from experiments.harness.words import count, percent, ranking
from experiments.models.families import FAMILIES, STYLES
from keras_griffin.inspection import decode_cost
from keras_griffin.models import GriffinConfig
from keras_griffin.tasks import TaskBatch

TITLE = "Associative recall"
FIGURE = "beyond the paper"
PAPER = (
    "Griffin's has no such experiment. Arora et al. (arXiv 2312.04927) ask for the values of 4 to 16 keys in rows of "
    "64 to 256 tokens. Two layers of attention answer all at a width of 64, whereas models without attention need a "
    "width that grows with the length."
)
DIFFERS = (
    "Rows of 32 and 64 tokens in place of up to 256, a vocabulary of 32 in place of 8,192, new rows in each of at most "
    "2,500 steps, two seeds to save time, and a gated MLP of width 64 in each of the two blocks. (With a vocabulary of "
    "64 and batches of 32, the Transformer still guessed after 2,000 steps; so it did after 2,500, at 2e-3 and 4e-3, "
    "with the answers in the rows: 56 % of 4 pairs.) Griffin has a recurrent block, then local attention with a window "
    "of half a row. Heads have 32 channels, and the steps between two keys are empty. The optimizer is Adam (beta_2 "
    "0.99, gradients clipped to norm 1, no weight decay), with 100 steps of warm-up, then a constant rate. The state "
    "is that of one row at its last token, in float32."
)
RATES, is_kept = earlier.RATES, earlier.is_kept
#: The accuracy from which a model has learnt the task.
LEARNT = 0.99
#: The width at which attention answers all.
WIDTH = 64
#: The accuracy of one family from which the failure of another counts: the task can be learnt.
LEARNABLE = 0.9
#: Below this accuracy Hawk leaves room for Griffin, which then is better by so much.
ROOM, BETTER = 0.9, 0.1
#: The accuracy up to which a model has learnt next to nothing; a guess among 4 values is right once in 4.
GUESS = 0.3


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    #: Lengths and numbers of pairs, from the easiest.
    tasks: tuple[tuple[int, int], ...]
    #: The first is that of the search.
    widths: tuple[int, ...]
    steps: int
    learning_rates: tuple[float, ...]
    vocabulary_size: int = 32
    mlp_width: int = 64
    head_dim: int = 32
    families: tuple[str, ...] = tuple(FAMILIES)
    seeds: tuple[int, ...] = (0, 1)
    batch_size: int = 64
    validate_every: int = 100
    validation_rows: int = 512
    test_rows: int = 1024


SIZES = {
    "smoke": Size(
        tasks=((8, 2),),
        widths=(16,),
        steps=4,
        learning_rates=(1e-2,),
        vocabulary_size=16,
        mlp_width=0,
        head_dim=8,
        # One model, since compiling takes most of the time.
        families=("Griffin",),
        seeds=(0,),
        batch_size=4,
        validate_every=2,
        validation_rows=8,
        test_rows=8,
    ),
    "small": Size(((32, 4), (64, 8)), (64, 32, 128), 2500, (1e-3, 2e-3, 4e-3)),
    # The rows, widths, rates and 64 epochs of 100,000 rows of Arora et al., for an accelerator.
    "paper": Size(
        tasks=((64, 4), (128, 8), (256, 16)),
        widths=(64, 128, 256, 512),
        steps=100_000,
        learning_rates=(1e-4, 4.64e-4, 2.15e-3, 1e-2),
        vocabulary_size=8192,
        mlp_width=0,
        validate_every=1000,
    ),
}


# Runs


def task_name(length: int, num_pairs: int) -> str:
    """A task in words."""
    return f"{num_pairs} pairs in {length:,}"


def name(task: str, width: int) -> str:
    """A setting in words: a task, and the width of the models."""
    return f"{task}, width {width}"


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The search for a learning rate on the easiest task at one width, then each task, width and seed."""
    size = SIZES[scale]

    def run(family, rung, learning_rate, seed):
        (length, num_pairs), width = rung
        return Run(
            experiment="associative_recall",
            scale=scale,
            family=family,
            config=GriffinConfig(
                vocabulary_size=size.vocabulary_size,
                width=width,
                num_layers=2,
                num_heads=width // size.head_dim,
                mlp_width=size.mlp_width,
                window=length // 2,
                block_pattern=("recurrent", "local_mqa"),
                decay_initializer="paper",
            ),
            data={"length": length, "num_pairs": num_pairs, "test_rows": size.test_rows},
            setting=name(task_name(length, num_pairs), width),
            batch_size=size.batch_size,
            steps=size.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every,
            validation_rows=size.validation_rows,
        )

    rungs = list(itertools.product(size.tasks, size.widths))
    return planned(run, rungs, size.learning_rates, seeds, table, size.families)


def make_batch(run: Run, rows: int, seed: int) -> TaskBatch:
    """Rows of the task."""
    length, num_pairs = run.data["length"], run.data["num_pairs"]
    return associative_recall(rows, length, num_pairs, vocabulary_size=run.config.vocabulary_size, seed=seed)


def test(run: Run, model) -> Iterator[Test]:
    """The accuracy on new rows, and the bytes of the state from which a row's last token is decoded."""
    found = score(model, batches(run, make_batch, run.data["test_rows"], TESTING))
    yield run.setting, "test_accuracy", found.token_accuracy
    yield run.setting, "test_row_accuracy", found.row_accuracy
    state_bytes = decode_cost(model.config, 1, run.data["length"], dtype="float32").cache_bytes
    yield run.setting, "state_bytes", state_bytes


# Claims


class Cell(NamedTuple):
    """The accuracies of a task at a width, by seed and family."""

    task: str
    width: int
    seeds: dict[int, dict[str, float]]


def cells(table: Table) -> list[Cell]:
    """What has finished, by task, from the easiest, and width, from the smallest."""
    found = []
    for setting in sorted(table.settings(), key=shape):
        seeds = {
            seed: {family: table.value(trial, "test_accuracy") for family, trial in runs.items()}
            for seed, runs in trials_by_seed(table, setting).items()
        }
        length, num_pairs, width = shape(setting)
        found.append(Cell(task_name(length, num_pairs), width, seeds))
    return found


def shape(setting: str) -> tuple[int, int, int]:
    """The length, the pairs and the width that a setting names."""
    num_pairs, length, width = (int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\b", setting))
    return length, num_pairs, width


def attention_answers_all(table: Table) -> Verdict:
    """The Transformer answers 99 % at a width of 64; undecided where no family learns the task."""
    outcomes, told = [], []
    for cell in cells(table):
        if cell.width == WIDTH:
            outcomes += [_if_learnt(found, found["MQA"] >= LEARNT) for found in cell.seeds.values()]
            told.append(f"{cell.task} {_percents(cell, 'MQA')}")
    return verdict(outcomes, f"accuracy of MQA in %, by seed: {'; '.join(told)}")


def hawk_is_bound_by_its_state(table: Table) -> Verdict:
    """Hawk answers less of the harder task at each width, and more at each greater width.

    Two accuracies decide nothing where it answers both times all, or next to nothing.
    """
    found = cells(table)
    outcomes = []
    for half, seed in itertools.product((_harder(found), _narrower(found)), _seeds(found)):
        pairs = [
            [cell.seeds[seed]["Hawk"] for cell in pair] for pair in half if all(seed in cell.seeds for cell in pair)
        ]
        rising = [less < more for less, more in pairs if min(less, more) < LEARNT and max(less, more) >= GUESS]
        outcomes.append(all(rising) if rising else None)
    told = [f"{cell.task}, width {cell.width} {_percents(cell, 'Hawk')}" for cell in found]
    return verdict(outcomes, f"accuracy of Hawk in %, by seed: {'; '.join(told)}")


def griffin_answers_more(table: Table) -> Verdict:
    """Griffin is 10 points better wherever Hawk answers less than 90 %; undecided where no family learns the task."""
    outcomes, told = [], []
    for cell in cells(table):
        room = [found for found in cell.seeds.values() if found["Hawk"] < ROOM]
        outcomes += [_if_learnt(found, found["Griffin"] - found["Hawk"] >= BETTER) for found in room]
        if room:
            values = ", ".join(f"{percent(found['Griffin'])} for {percent(found['Hawk'])}" for found in room)
            told.append(f"{cell.task}, width {cell.width} {values}")
    return verdict(outcomes, f"accuracy of Griffin for that of Hawk in %, by seed: {'; '.join(told)}")


def _if_learnt(found, holds):
    """An outcome; a failure decides nothing where no family has learnt the task."""
    return True if holds else False if max(found.values()) >= LEARNABLE else None


def _harder(found):
    """Neighbouring tasks at the same width, the harder first."""
    by_width = sorted(found, key=lambda cell: cell.width)
    return [(hard, easy) for easy, hard in itertools.pairwise(by_width) if easy.width == hard.width]


def _narrower(found):
    """Neighbouring widths of the same task, the smaller first."""
    return [(narrow, wide) for narrow, wide in itertools.pairwise(found) if narrow.task == wide.task]


def _seeds(found):
    return sorted({seed for cell in found for seed in cell.seeds})


def _percents(cell, family):
    return ", ".join(percent(found[family]) for found in cell.seeds.values())


CLAIMS = (
    Claim(
        "Attention answers all at a width of 64", "MQA at least 99 % at a width of 64, each task", attention_answers_all
    ),
    Claim(
        "A model without attention needs a width that grows with the length",
        "Hawk's accuracy falls from the easier task to the harder at each width, and rises with the width in each task",
        hawk_is_bound_by_its_state,
    ),
    Claim(
        "A little attention closes the gap (of hybrids; Griffin is not among theirs)",
        "Griffin at least 10 points above Hawk wherever Hawk is below 90 %",
        griffin_answers_more,
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    return {
        "state, bytes": count(table.value(trial, "state_bytes")),
        "steps to 95 %": count(table.steps_to(trial, "token_accuracy", LEVEL)),
        "answers, %": percent(table.value(trial, "test_accuracy")),
        "rows, %": percent(table.value(trial, "test_row_accuracy")),
    }


def finding(table: Table) -> str:
    """The accuracies on the hardest task at its least width."""
    found = cells(table)
    cell = next(cell for cell in found if cell.task == found[-1].task)
    shares = {family: [values[family] for values in cell.seeds.values()] for family in FAMILIES}
    return ranking(f"Of {cell.task} tokens, at width {cell.width}, {{}} answers {{}} %", shares)


def draw(table: Table) -> Figure:
    """Accuracy against width and bytes of state, a panel for each task and a line for each seed."""
    found = cells(table)
    tasks = list(dict.fromkeys(cell.task for cell in found))
    figure, axes = panels(len(tasks))
    for each, task in zip(axes, tasks, strict=True):
        own = [cell for cell in found if cell.task == task]
        for seed, family in itertools.product(_seeds(own), FAMILIES):
            done = {place: cell.seeds[seed][family] for place, cell in enumerate(own) if seed in cell.seeds}
            line(each, STYLES[family], list(done), list(done.values()))
        each.set_xticks(range(len(own)), [f"{cell.width}\n{_kilobytes(table, cell)}" for cell in own], size="small")
        each.set_xlim(-0.2, len(own) - 0.8)
        each.set(
            title=f"{task} tokens",
            xlabel=f"width of the model\nKB of its state: {', '.join(FAMILIES)}",
            ylabel="right answers, %",
        )
    return figure


def _kilobytes(table, cell):
    """The state of each family, in thousands of bytes."""
    (setting,) = (each for each in table.settings() if (task_name(*shape(each)[:2]), shape(each)[2]) == cell[:2])
    trials = ((table.trials(family, setting) or [None])[0] for family in FAMILIES)
    return " / ".join(f"{table.value(trial, 'state_bytes') / 1e3:.2g}" if trial else "" for trial in trials)
