"""Phonebook: what number has this name in the book above? Section 6.2, Figure 6c."""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.data.phonebook import PHONEBOOK_CHARACTERS, phonebook
from experiments.harness.claims import NOT_GIVEN, Claim, Verdict, verdict
from experiments.harness.plots import Figure, line, panels
from experiments.harness.run import Run
from experiments.harness.search import LEVEL, planned, trials_by_seed
from experiments.harness.table import Table, Trial
from experiments.harness.training import TESTING, TO_ZERO, Test, batches, falling_rate
from experiments.harness.words import count, percent, ranking
from experiments.models.families import FAMILIES, STYLES, SYNTHETIC, TINY
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.tasks import TaskBatch

TITLE = "Phonebook"
FIGURE = "Figure 6c"
PAPER = (
    "Language models of 6 and 7 billion parameters that were trained on text answer for a name its number in a book of "
    "up to 3,000 tokens. Hawk can only for very short books. The Transformer is almost perfect up to its training "
    "length of 2,048, then fails. Griffin is perfect up to its window of 1,024, then declines, and beyond 2,048 is "
    "better than the Transformer."
)
DIFFERS = (
    "The models are trained on the task, since there is no pre-trained model of this size that could be asked: this "
    "shows what the families can learn to remember, not what they have learnt from text. They are small, and a "
    "character is a token. A batch of training has 8 books of one size, drawn from 1 to 24 entries; each is followed "
    "by 4 of its names with their numbers, so that the loss counts 16 digits. In the tests one name follows the book, "
    "and its number is right if all 4 digits are, each predicted after the right ones: then greedy decoding has it "
    "right. Griffin and Hawk have 12,000 steps and the Transformer, which learns last, 24,000, whatever has been "
    "learnt. The optimizer is Adam (beta_2 0.99, gradients clipped to norm 1, no weight decay), with 100 steps of "
    "warm-up, then a cosine of the rate to zero."
)
#: An entry is a name of so many letters, a colon, a number of so many digits and a newline.
NAME_LENGTH, NUMBER_LENGTH = 3, 4
ENTRY = NAME_LENGTH + NUMBER_LENGTH + 2
#: Names that follow a book in training.
LOOKUPS = 4
#: The token behind a book and its look-ups. No answer depends on it, since it comes later.
PADDING = PHONEBOOK_CHARACTERS.index("\n")
#: The books of a batch of training end, with what is behind them, after one of so many lengths.
LENGTHS = 3
#: The share of numbers from which a family answers a size of books, and a difference that is more than noise.
LEARNT, CLEARLY = 0.95, 0.05


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    config: GriffinConfig
    #: Of the longest book of training.
    entries: int
    steps: int
    steps_of_mqa: int
    learning_rates: tuple[float, ...]
    #: Entries of the tested books.
    books: tuple[int, ...]
    families: tuple[str, ...] = tuple(FAMILIES)
    seeds: tuple[int, ...] = (0, 1, 2)
    batch_size: int = 8
    validate_every: int = 250
    validation_rows: int = 256
    #: Books of each size in the tests.
    test_rows: int = 256


SIZES = {
    "smoke": Size(
        config=TINY.replace(vocabulary_size=len(PHONEBOOK_CHARACTERS), window=54),
        entries=2,
        steps=4,
        steps_of_mqa=4,
        learning_rates=(1e-2,),
        books=(1, 2),
        # One model, since compiling takes most of the time.
        families=("Griffin",),
        seeds=(0,),
        batch_size=4,
        validate_every=2,
        validation_rows=8,
        test_rows=8,
    ),
    "small": Size(
        config=SYNTHETIC.replace(vocabulary_size=len(PHONEBOOK_CHARACTERS), window=128),
        entries=24,
        steps=12_000,
        steps_of_mqa=24_000,
        learning_rates=(1e-3, 2e-3, 4e-3),
        books=(1, 2, 4, 7, 10, 14, 19, 24, 30, 36, 48, 64, 81),
    ),
    # The paper's window and lengths, for an accelerator; but its models are not trained on the task.
    "paper": Size(
        config=SYNTHETIC.replace(vocabulary_size=len(PHONEBOOK_CHARACTERS), window=1024),
        entries=223,
        steps=100_000,
        steps_of_mqa=100_000,
        learning_rates=(1e-4, 2e-4, 1e-3),
        books=(1, 4, 16, 64, 109, 150, 223, 280, 334, 446),
        validate_every=1000,
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The search for a learning rate, then each seed."""
    size = SIZES[scale]

    def run(family, entries, learning_rate, seed):
        return Run(
            experiment="phonebook",
            scale=scale,
            family=family,
            config=size.config,
            data={
                "entries": entries,
                "lookups": LOOKUPS,
                "name_length": NAME_LENGTH,
                "number_length": NUMBER_LENGTH,
                "books": list(size.books),
                "test_rows": size.test_rows,
            },
            setting=trained_on(entries, size.config.window),
            batch_size=size.batch_size,
            steps=size.steps_of_mqa if family == "MQA" else size.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every,
            validation_rows=size.validation_rows,
            # All steps are done, whatever has been learnt.
            solved=2.0,
            schedule=TO_ZERO,
        )

    return planned(run, [size.entries], size.learning_rates, seeds, table, size.families)


def trained_on(entries: int, window: int) -> str:
    """A setting of training in words."""
    return f"1 to {entries} entries, window {window:,}"


def name(entries: int) -> str:
    """A setting of a test in words."""
    return f"book of {entries}"


optimizer = falling_rate


def make_batch(run: Run, rows: int, seed: int, entries: int = 0, lookups: int = LOOKUPS) -> TaskBatch:
    """Books of one size, which is drawn if it is not given, and look-ups.

    With what is behind them, books of training have a third, two thirds or the whole of the longest's entries, and all
    that are longer in the tests have the same length, so that a model has four programs and not one for each size.
    """
    largest = run.data["entries"]
    # The numbers of the rows follow from the seed alone.
    size = entries or int(np.random.default_rng((seed, 1)).integers(1, largest + 1))
    batch = phonebook(rows, size, lookups, name_length=NAME_LENGTH, number_length=NUMBER_LENGTH, seed=seed)
    step = -(-largest // LENGTHS)
    held = min(largest, -(-size // step) * step) if size <= largest else max(run.data["books"])
    length = ENTRY * (LOOKUPS + held)
    behind = ((0, 0), (0, length - batch.token_ids.shape[1]))
    fills = TaskBatch(PADDING, 0, 0.0)
    return TaskBatch(*(np.pad(array, behind, constant_values=fill) for array, fill in zip(batch, fills, strict=True)))


def test(run: Run, model) -> Iterator[Test]:
    """The share of right numbers in books of each size."""
    for entries in run.data["books"]:
        make = functools.partial(make_batch, entries=entries, lookups=1)
        yield name(entries), "test_exact_match", exact_match(model, batches(run, make, run.data["test_rows"], TESTING))


def exact_match(model: LanguageModel, batches: Iterable[TaskBatch]) -> float:
    """The share of numbers of which all digits are right."""
    right = []
    for token_ids, targets, weights in batches:
        found = model.predict_on_batch(token_ids).argmax(axis=-1)
        right.append((found == targets)[weights > 0].reshape(-1, NUMBER_LENGTH).all(axis=1))
    return float(np.concatenate(right).mean())


# Claims


class Landmarks(NamedTuple):
    """Numbers of entries that the claims are about, and the window in tokens."""

    #: With its look-ups, such a book fits into the window.
    fitting: int
    #: Of training.
    longest: int
    window: int

    @property
    def longer(self) -> int:
        """One and a half of the longest book."""
        return 3 * self.longest // 2

    @property
    def twice(self) -> int:
        """Two of the longest book."""
        return 2 * self.longest


def landmarks(table: Table) -> Landmarks:
    """What the setting of training names."""
    _, longest, window = (int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\b", table.settings()[0]))
    return Landmarks(window // ENTRY - LOOKUPS, longest, window)


def at(table: Table, trial: Trial, entries: int) -> float:
    """The share of right numbers in books of a size."""
    return table.value(trial, "test_exact_match", name(entries))


def sizes(table: Table, trial: Trial, largest: int) -> list[int]:
    """The tested sizes up to one."""
    tested = [int(setting.split()[-1]) for setting in table.tests(trial, "test_exact_match")]
    return [entries for entries in tested if entries <= largest]


def mqa_fails_beyond(table: Table) -> Verdict:
    """The Transformer answers 95 % up to the longest book of training, and less than half at twice its size."""
    mark = landmarks(table)
    outcomes, told = [], []
    for runs in _seeds(table):
        least = _least(table, runs["MQA"], mark.longest)
        others = max(_least(table, trial, mark.longest) for trial in runs.values())
        beyond = at(table, runs["MQA"], mark.twice)
        outcomes.append(True if least >= LEARNT else False if others >= LEARNT else None)
        # A model that has not learnt the task says nothing beyond.
        outcomes += [beyond < 0.5] if least >= LEARNT else []
        told.append(f"{percent(least)} and {percent(beyond)}")
    up_to = f"up to {mark.longest} entries, the least, and at {mark.twice}"
    ours = f"{up_to}: {'; '.join(told)} %"
    return verdict(outcomes, f"right numbers of MQA in %, {up_to}, by seed: {'; '.join(told)}", ours)


def griffin_declines_beyond_its_window(table: Table) -> Verdict:
    """Griffin answers 95 % of what its window holds, fewer then, and more than the Transformer beyond training.

    The decline decides nothing where no family has learnt the longest book, the lead nothing where the Transformer
    has not.
    """
    mark = landmarks(table)
    outcomes, told = [], []
    for runs in _seeds(table):
        own = runs["Griffin"]
        least = _least(table, own, mark.fitting)
        others = max(_least(table, trial, mark.fitting) for trial in runs.values())
        outcomes.append(True if least >= LEARNT else False if others >= LEARNT else None)
        decline = at(table, own, mark.fitting) - at(table, own, mark.longest)
        lead = at(table, own, mark.longer) - at(table, runs["MQA"], mark.longer)
        if least >= LEARNT:
            learnt = {family: _least(table, trial, mark.longest) >= LEARNT for family, trial in runs.items()}
            outcomes.append(decline >= CLEARLY if any(learnt.values()) else None)
            outcomes.append(lead >= CLEARLY if learnt["MQA"] else None)
        longer = f"{percent(at(table, own, mark.longer))} for {percent(at(table, runs['MQA'], mark.longer))} of MQA"
        told.append(f"{percent(least)}, {percent(at(table, own, mark.longest))}, {longer}")
    places = f"up to {mark.fitting} entries, the least, at {mark.longest}, and at {mark.longer}"
    ours = f"{places}: {'; '.join(told)} %"
    return verdict(outcomes, f"right numbers of Griffin in %, {places}, by seed: {'; '.join(told)}", ours)


def hawk_remembers_little(table: Table) -> Verdict:
    """Hawk answers half of one entry, and less than half of a book that fits into Griffin's window.

    Less than half decides nothing where no other family has learnt such a book.
    """
    mark = landmarks(table)
    outcomes, told = [], []
    for runs in _seeds(table):
        one, many = (at(table, runs["Hawk"], entries) for entries in (1, mark.fitting))
        others = max(at(table, runs[family], mark.fitting) for family in runs if family != "Hawk")
        decides = one >= 0.5 and (many >= 0.5 or others >= LEARNT)
        outcomes.append(many < 0.5 if decides else None)
        told.append(f"{percent(one)} and {percent(many)}")
    places = f"at 1 entry and at {mark.fitting}"
    ours = f"{places}: {'; '.join(told)} %"
    return verdict(outcomes, f"right numbers of Hawk in %, {places}, by seed: {'; '.join(told)}", ours)


def _least(table, trial, largest):
    """The least share of right numbers up to a size; 0 where nothing is tested."""
    return min((at(table, trial, entries) for entries in sizes(table, trial, largest)), default=0.0)


def _seeds(table):
    return list(trials_by_seed(table, table.settings()[0]).values())


CLAIMS = (
    Claim(
        "The Transformer is almost perfect up to the length of training, then fails",
        "MQA at least 95 % up to the longest book of training and below 50 % at twice its size",
        mqa_fails_beyond,
        FIGURE,
        "MQA almost perfect up to 2,048 tokens",
        why="MQA learns late, or not at all",
    ),
    Claim(
        "Griffin is perfect up to its window, then declines, and is better than the Transformer beyond its training",
        "Griffin at least 95 % while book and look-ups fit the window, at least 5 points lower at the longest book of "
        "training, and at least 5 points above MQA at one and a half of it",
        griffin_declines_beyond_its_window,
        FIGURE,
        "Griffin perfect up to about 1,024 tokens, its window",
        why="MQA learns late, or not at all",
    ),
    Claim(
        "Hawk remembers only very short books",
        "Hawk below 50 % where the book still fits Griffin's window",
        hawk_remembers_little,
        FIGURE,
        NOT_GIVEN,
        why="one Griffin falls short itself",
        before="reproduced: a constant rate, two seeds",
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    mark = landmarks(table)
    places = [1, 4, mark.fitting, mark.longest, mark.longer, mark.twice]
    return {
        "steps to 95 %": count(table.steps_to(trial, "token_accuracy", LEVEL)),
        **{f"{name(entries)}, %": percent(at(table, trial, entries)) for entries in places},
    }


def finding(table: Table) -> str:
    """The share of right numbers in books longer than those of training."""
    mark = landmarks(table)
    shares = {family: [at(table, runs[family], mark.longer) for runs in _seeds(table)] for family in FAMILIES}
    return ranking("In books half longer than those of training {} finds {} %", shares)


def draw(table: Table) -> Figure:
    """Right numbers against the tokens of the book, a line for each seed."""
    mark = landmarks(table)
    figure, (axes,) = panels(1)
    for runs in _seeds(table):
        for family, trial in runs.items():
            tested = sizes(table, trial, 10**9)
            shares = [at(table, trial, entries) for entries in tested]
            line(axes, STYLES[family], [ENTRY * entries for entries in tested], shares)
    # Above the axes, where no line runs through them.
    marks = (mark.window, "Griffin's window", "center"), (ENTRY * mark.longest, "longest book of training", "left")
    for tokens, words, side in marks:
        axes.axvline(tokens, color="gray", linestyle=":", linewidth=1)
        axes.text(tokens, 1.01, words, color="gray", ha=side, transform=axes.get_xaxis_transform())
    axes.set(xlabel="tokens of the book", ylabel="right numbers, %", xlim=(0, None))
    return figure
