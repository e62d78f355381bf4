"""Induction heads: what followed the special token when it came before? Section 6.2, Figure 6b."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from experiments.harness.claims import NOT_GIVEN, Claim, Verdict, verdict
from experiments.harness.curriculum import GROWING, part_of
from experiments.harness.further import RATE, WAYS, train_further
from experiments.harness.plots import Figure, line, panels
from experiments.harness.run import Run
from experiments.harness.search import LEVEL, kept_trials, planned, trials_by_seed
from experiments.harness.table import Table, Trial
from experiments.harness.training import (
    TESTING,
    TO_ZERO,
    TRAINING,
    Test,
    batches,
    falling_rate,
    last_token_accuracy,
)
from experiments.harness.words import count, percent, ranking
from experiments.models.families import FAMILIES, STYLES, SYNTHETIC, TINY
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.tasks import TaskBatch, induction_heads

TITLE = "Induction heads"
FIGURE = "Figure 6b"
PAPER = (
    "Trained at a length of 256, all three families answer perfectly up to that length, and beyond it the Transformer "
    "with RoPE fails. Hawk stays perfect at lengths several orders of magnitude greater, and Griffin does so "
    "exceptionally well."
)
DIFFERS = (
    "Rows of the paper's length, a window of half a row as in the paper, and a fixed number of steps whatever has "
    "been learnt: 2,000, in which the rates are searched, and 20,000, which are judged, with three seeds each. The "
    "first six tenths of the steps have shorter rows, of 32, 64 and 128 tokens, in all families alike, since the "
    "Transformer does not find the task on long rows in 2,000 steps; all batches have 2,048 tokens. The paper gives "
    "neither the optimizer nor the number of heads nor the tested lengths: these are Adam (beta_2 0.99, gradients "
    "clipped to norm 1, no weight decay), 100 steps of warm-up, then a cosine of the rate to zero. Each length is "
    "tested on 256 rows. The Transformer reads at most 2,048 tokens, as its cost is quadratic. After their tests, the "
    "models of 2,000 steps go on for 500, at a tenth of the rate, with the state that a row leaves as the first state "
    "of the row in its place in the next batch, and, from the same weights, without."
)
#: The accuracy at the length of training from which a model has learnt the task.
LEARNT = 0.99
#: The lengths of the claims, in units of that of training; after further steps only those of `FURTHER`.
TIMES = (1, 4, 8, 16, 64, 256)
FURTHER = (1, 4, 16, 64)


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    config: GriffinConfig
    length: int
    #: Of a short training, in which the rates are searched, and a long one.
    steps: tuple[int, ...]
    learning_rates: tuple[float, ...]
    #: The tested lengths, and the last for the Transformer, whose cost is quadratic.
    lengths: tuple[int, ...]
    longest_of_mqa: int
    #: The last after the short training, which further steps follow.
    longest_of_short: int
    further_steps: int = 500
    #: Of the rows' lengths, as in `part_of`.
    curriculum: tuple[tuple[float, int], ...] = GROWING
    families: tuple[str, ...] = tuple(FAMILIES)
    seeds: tuple[int, ...] = (0, 1, 2)
    #: Rows of the full length.
    batch_size: int = 8
    validate_every: int = 200
    validation_rows: int = 512
    #: At each length.
    test_rows: int = 256


SIZES = {
    "smoke": Size(
        config=TINY,
        length=32,
        steps=(4,),
        learning_rates=(1e-2,),
        lengths=(32, 64),
        longest_of_mqa=32,
        longest_of_short=64,
        further_steps=2,
        curriculum=((0.0, 1),),
        # One model, since compiling takes most of the time.
        families=("Griffin",),
        seeds=(0,),
        batch_size=2,
        validate_every=2,
        validation_rows=8,
        test_rows=4,
    ),
    "small": Size(
        config=SYNTHETIC,
        length=256,
        steps=(2000, 20_000),
        learning_rates=(1e-3, 2e-3, 4e-3),
        lengths=(64, 128, 256, 512, 1024, 2048, 4096, 16_384, 65_536),
        longest_of_mqa=2048,
        longest_of_short=16_384,
    ),
    # The batches, steps and tests of Mamba's authors, for an accelerator.
    "paper": Size(
        config=SYNTHETIC,
        length=256,
        steps=(204_800,),
        learning_rates=(2e-4, 1e-3),
        lengths=tuple(2**power for power in range(6, 21)),
        longest_of_mqa=2**14,
        longest_of_short=2**14,
        validate_every=1024,
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The search for a learning rate in the short training, then each training and seed."""
    size = SIZES[scale]

    def run(family, steps, learning_rate, seed):
        is_short, is_mqa = steps == size.steps[0], family == "MQA"
        longest = size.longest_of_mqa if is_mqa else size.longest_of_short if is_short else size.lengths[-1]
        return Run(
            experiment="induction_heads",
            scale=scale,
            family=family,
            config=size.config.replace(window=size.length // 2),
            data={
                "length": size.length,
                "curriculum": size.curriculum,
                "lengths": [tested for tested in size.lengths if tested <= longest],
                "test_rows": size.test_rows,
                "further_steps": size.further_steps if is_short and not is_mqa else 0,
                "further_rate": RATE,
            },
            setting=name(size.length, steps),
            batch_size=size.batch_size,
            steps=steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every,
            validation_rows=size.validation_rows,
            # All steps are done, whatever has been learnt.
            solved=2.0,
            schedule=TO_ZERO,
        )

    return planned(run, size.steps, size.learning_rates, seeds, table, size.families)


def name(length: int, steps: int) -> str:
    """A setting of training in words."""
    return f"{length:,} tokens, {steps:,} steps"


def at(length: int, further: str = "") -> str:
    """A setting of a test in words."""
    return f"{length:,} tokens{further and f' after {further}'}"


def make_batch(run: Run, rows: int, seed: int, length: int | None = None) -> TaskBatch:
    """Rows of the task: of a length, or in training of that which the curriculum has at the step of a seed."""
    part = 1 if length else part_of(run, seed)
    return induction_heads(part * rows, (length or run.data["length"]) // part, seed=seed)


optimizer = falling_rate


def test(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The accuracy at each length, also after further steps."""
    yield from _accuracies(run, model, run.data["lengths"])
    if steps := run.data["further_steps"]:

        def make(index):
            return make_batch(run, run.batch_size, (1 + run.seed) * TRAINING + run.steps + index, run.data["length"])

        lengths = [each for each in run.data["lengths"] if each in (times * run.data["length"] for times in FURTHER)]
        weights = model.get_weights()
        for words, is_carried in WAYS.items():
            model.set_weights(weights)
            train_further(run, model, steps, make, is_carried, optimizer)
            yield from _accuracies(run, model, lengths, f"{steps} {words}")


def _accuracies(run, model, lengths, further=""):
    for length in lengths:
        tested = batches(run, functools.partial(make_batch, length=length), run.data["test_rows"], TESTING)
        yield at(length, further), "test_accuracy", last_token_accuracy(model, tested)


# Claims


def accuracy(table: Table, trial: Trial, times: int, further: str = "") -> float:
    """The accuracy at so many times the length of training."""
    return table.value(trial, "test_accuracy", at(times * length_of(trial.setting), further))


def length_of(setting: str) -> int:
    """The length that a setting names."""
    return int(setting.split()[0].replace(",", ""))


def judged(table: Table) -> tuple[str, dict[int, dict[str, Trial]]]:
    """The longest training that has finished with every seed of the search's; its runs by seed and family."""
    trainings = [(setting, trials_by_seed(table, setting)) for setting in table.settings()]
    return [each for each in trainings if len(each[1]) == len(trainings[0][1])][-1]


def _told(table, family, times):
    """What a family answers after the trainings that are not judged, in words."""
    words = ""
    for setting in table.settings():
        trials = kept_trials(table, family, setting) if setting != judged(table)[0] else ()
        shares = (filter(None, (percent(accuracy(table, trial, each)) for trial in trials)) for each in times)
        told = " and ".join(filter(None, map(", ".join, shares)))
        words += told and f"; {setting.split(', ')[1]}: {told}"
    return words


def all_learn_it(table: Table) -> Verdict:
    """All three families reach 99 % at the length of training; undecided where none does."""
    setting, seeds = judged(table)
    found = [[accuracy(table, runs[family], 1) for family in FAMILIES] for runs in seeds.values()]
    outcomes = [min(values) >= LEARNT if max(values) >= LEARNT else None for values in found]
    told = [
        f"{family} {', '.join(percent(values[place]) for values in found)}{_told(table, family, (1,))}"
        for place, family in enumerate(FAMILIES)
    ]
    least = min(map(min, found), default=math.nan)
    return verdict(outcomes, f"{setting}: accuracy in %, by seed: {'; '.join(told)}", f"at least {percent(least)} %")


def mqa_fails_beyond(table: Table) -> Verdict:
    """The Transformer answers less than half at 4 and at 8 times the length."""
    return _beyond(table, "MQA", (4, 8), lambda accuracy: accuracy < 0.5)


def hawk_extrapolates(table: Table) -> Verdict:
    """Hawk answers 99 % at 64 and at 256 times the length."""
    return _beyond(table, "Hawk", (64, 256), lambda accuracy: accuracy >= 0.99)


def griffin_extrapolates(table: Table) -> Verdict:
    """Griffin answers 90 % at 16 times the length."""
    return _beyond(table, "Griffin", (16,), lambda accuracy: accuracy >= 0.9)


def _beyond(table, family, times, holds):
    """The verdict at so many times the length; a model that has not learnt the task decides nothing."""
    setting, seeds = judged(table)
    trials = [runs[family] for runs in seeds.values()]
    outcomes, told, ours = [], [], []
    for each in times:
        found = [accuracy(table, trial, each) for trial in trials]
        outcomes += [
            holds(share) if accuracy(table, trial, 1) >= LEARNT and not math.isnan(share) else None
            for share, trial in zip(found, trials, strict=True)
        ]
        shares = ", ".join(filter(None, map(percent, found)))
        told.append(f"at {each} times the length {shares or 'not tested'}")
        ours += (
            [f"{percent(median(found))} % at {each} times the length"] if found and not math.isnan(sum(found)) else []
        )
    words = f"{setting}: accuracy of {family} in %, by seed: {'; '.join(told)}{_told(table, family, times)}"
    return verdict(outcomes, words, ", ".join(ours))


CLAIMS = (
    Claim(
        "All models are perfect up to the length of training",
        "at least 99 % at that length",
        all_learn_it,
        FIGURE,
        "perfect up to 256 tokens",
        before="partly after 2,000 steps",
    ),
    Claim(
        "The Transformer with RoPE fails beyond it",
        "MQA below 50 % at 4 and at 8 times the length",
        mqa_fails_beyond,
        FIGURE,
        NOT_GIVEN,
        "short rows first help it",
        before="reproduced at 4 times rows of 32, without shorter rows first",
    ),
    Claim(
        "Hawk is perfect several orders of magnitude beyond it",
        "Hawk at least 99 % at 64 and at 256 times the length",
        hawk_extrapolates,
        FIGURE,
        "Hawk perfect several orders of magnitude beyond",
        "greater rates reach further",
    ),
    Claim(
        "Griffin extrapolates exceptionally well",
        "Griffin at least 90 % at 16 times the length",
        griffin_extrapolates,
        FIGURE,
        NOT_GIVEN,
        before="not reproduced after 2,000 steps",
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    short = {"500 further steps": "further", "500 further steps, states carried": "carried"}
    return {
        "steps to 95 %": count(table.steps_to(trial, "token_accuracy", LEVEL)),
        **{f"at {times} T, %": percent(accuracy(table, trial, times)) for times in TIMES},
        **{
            f"{short[further]}, at {times} T, %": percent(accuracy(table, trial, times, further))
            for further in short
            for times in FURTHER[1:]
        },
    }


def finding(table: Table) -> str:
    """The accuracy beyond the length of training."""
    _, seeds = judged(table)
    shares = {family: [accuracy(table, runs[family], 16) for runs in seeds.values()] for family in FAMILIES}
    return ranking("At 16 times the length of training {} answers {} %", shares)


def draw(table: Table) -> Figure:
    """Accuracy against length after each training, a line for each seed."""
    trainings = table.settings()
    figure, panes = panels(len(trainings))
    for axes, setting in zip(panes, trainings, strict=True):
        for runs in trials_by_seed(table, setting).values():
            for family, trial in runs.items():
                tested = [each for each in table.tests(trial, "test_accuracy") if " after " not in each]
                shares = [table.value(trial, "test_accuracy", each) for each in tested]
                line(axes, STYLES[family], [length_of(each) for each in tested], shares)
        trained = length_of(setting)
        axes.axvline(trained, color="gray", linestyle=":", linewidth=1)
        style = {"color": "gray", "rotation": 90, "ha": "right", "va": "center"}
        # In the middle of the axes, whatever is drawn.
        axes.text(trained, 0.5, "length of training ", transform=axes.get_xaxis_transform(), **style)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set(xlabel="length, tokens", title=setting.split(", ")[1])
    panes[0].set_ylabel("right answers, %")
    return figure
