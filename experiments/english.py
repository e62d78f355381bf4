"""English text: bits per byte of the families beside those of compressors. Beyond the paper."""

import bz2
import lzma
import math
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.long_text import corpus, missing, random_windows, text_name
from experiments.harness.by_group import difference, grouped, groups
from experiments.harness.claims import Claim
from experiments.harness.intervals import Interval
from experiments.harness.plots import Figure, panels
from experiments.harness.run import Run
from experiments.harness.search import is_kept, kept_trials, planned
from experiments.harness.table import Table, Trial
from experiments.harness.training import TRAINING, Measurement, Test, cosine_rate, train
from experiments.harness.words import ranking
from experiments.long_context import unlikelihood
from experiments.models.families import FAMILIES, STYLES, TINY, Style
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.tasks import TaskBatch

TITLE = "English text"
FIGURE = "beyond the paper"
PAPER = (
    "Griffin's has no such experiment, and no published number is comparable, since texts that others report, such as "
    "enwik8, are in no package. So there is no claim."
)
DIFFERS = (
    "Models of equal width and depth read 5 million bytes of the Collaborative International Dictionary of English, "
    "mostly Webster's of 1913 (Debian's `dict-gcide`), or of another file. The last tenth of the file is held out. Its "
    "first part, at most half a million bytes, is measured, and the rest validates. A model reads the measured bytes "
    "in rows as long as those of training, of which each overlaps the one before by half: only the second half of a "
    "row counts, so that at least half a row precedes each byte. A compressor gets the measured bytes alone, and after "
    "the training part of 36 million bytes: then its bits are the increase in size. The second is nearer to a fair "
    "comparison, but models read a seventh of that part, and only lzma looks back so far: zlib's window has 32 KB, a "
    "block of bz2 900 KB. The bytes of the models themselves are not counted. A difference from MQA has a 95 % "
    "interval, from a bootstrap over groups of neighbouring bytes. The RG-LRU's first decays are those of the released "
    "code, the library's default. Adam (beta_2 0.99, gradients clipped to norm 1, weight decay 0.1) with a cosine of "
    "the rate."
)
RATES = "Learning rates: each family keeps the rate with the least loss in validation; every run is above."
CLAIMS: tuple[Claim, ...] = ()

#: The Collaborative International Dictionary of English, packed.
DICTIONARY = Path("/usr/share/dictd/gcide.dict.dz")
#: At their highest levels.
COMPRESSORS = {
    "zlib": lambda data: zlib.compress(data, 9),
    "bz2": lambda data: bz2.compress(data, 9),
    "lzma": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
}
#: What a compressor has read before.
ALONE, AFTER = "nothing", "the training part"
#: Beside the families' bars, those of the compressors.
LABELS = {AFTER: "compressor after the training part", ALONE: "compressor alone"}
BARS: dict[str, Style] = {**STYLES, LABELS[AFTER]: ("dimgray", "s"), LABELS[ALONE]: ("darkgray", "s")}


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    config: GriffinConfig
    #: Bytes of a row.
    length: int
    batch_size: int
    steps: int
    learning_rates: tuple[float, ...]
    #: Held-out bytes to measure, at most half of them.
    test_bytes: int
    families: tuple[str, ...] = tuple(FAMILIES)
    compressors: tuple[str, ...] = tuple(COMPRESSORS)
    seeds: tuple[int, ...] = (0,)
    validate_every: int = 250
    validation_rows: int = 256
    #: Of the training part, from its end; None for all.
    train_bytes: int | None = None


SIZES = {
    # Of the standard library's source, so that it needs no other text.
    "smoke": Size(
        config=TINY.replace(vocabulary_size=256, window=4),
        length=8,
        batch_size=4,
        steps=4,
        learning_rates=(1e-2,),
        test_bytes=64,
        # One model, since compiling takes most of the time.
        families=("Griffin",),
        compressors=("zlib",),
        validate_every=2,
        validation_rows=8,
        train_bytes=2**16,
    ),
    "small": Size(
        config=GriffinConfig(vocabulary_size=256, width=64, num_layers=6, num_heads=2, recurrence_width=80, window=128),
        length=256,
        batch_size=16,
        steps=1250,
        learning_rates=(2e-3, 4e-3),
        test_bytes=2**19,
    ),
    # For an accelerator, and a text such as the 100 MB of enwik8.
    "paper": Size(
        config=GriffinConfig(vocabulary_size=256, width=512, num_layers=12, num_heads=4, window=1024),
        length=2048,
        batch_size=64,
        steps=50_000,
        learning_rates=(5e-4, 1e-3),
        test_bytes=2**22,
        validate_every=1000,
    ),
}


# Text


class Parts(NamedTuple):
    """Bytes, uint8: to train on, to measure and to validate."""

    train: np.ndarray
    tested: np.ndarray
    validation: np.ndarray


def default_text(scale: str) -> Path | None:
    """The file to read where `EXPERIMENTS_TEXT` names none; None for the standard library's source."""
    return None if scale == "smoke" else DICTIONARY


def refusal(scale: str) -> str:
    """Why there is no text to read; empty if there is."""
    text = default_text(scale)
    return missing("english", text, "dict-gcide") if text else ""


def parts(run: Run) -> Parts:
    """The text of a run, in parts.

    Raises:
        ValueError: the held-out part is too short.
    """
    text, length = corpus(default_text(run.scale)), run.data["length"]
    size = min(run.data["test_bytes"], len(text.validation) // 2)
    if size <= length:
        raise ValueError(
            f"english: the held-out part of the text must have more than {2 * length:,} bytes. "
            f"Got {len(text.validation):,} from {run.data['text']}."
        )
    # A multiple of half a row.
    tested, validation = np.split(text.validation, [size - size % (length // 2)])
    return Parts(text.train[-(run.data["train_bytes"] or len(text.train)) :], tested, validation)


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The search for a learning rate, each seed, and the compressors."""
    size = SIZES[scale]
    data = {
        "text": text_name(default_text(scale)),
        "length": size.length,
        "test_bytes": size.test_bytes,
        "train_bytes": size.train_bytes,
    }

    def run(family, length, learning_rate, seed):
        return Run(
            experiment="english",
            scale=scale,
            family=family,
            config=size.config,
            data=data,
            setting=f"rows of {length:,} bytes",
            batch_size=size.batch_size,
            steps=size.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every,
            validation_rows=size.validation_rows,
            # A text is never solved.
            solved=2.0,
        )

    def compression(family, setting):
        return Run(
            experiment="english",
            scale=scale,
            family=family,
            config=None,
            data=data,
            setting=setting,
            batch_size=1,
            steps=0,
            learning_rate=None,
            seed=seeds[0],
            validate_every=1,
            validation_rows=0,
        )

    models = planned(run, [size.length], size.learning_rates, seeds, table, size.families, is_closed=True)
    return models + [compression(family, setting) for family in size.compressors for setting in (ALONE, AFTER)]


def measure(run: Run, folder: Path) -> list[Measurement]:
    """Train a model and read the measured bytes with it, or compress them."""
    if run.family in FAMILIES:
        return train(run, folder, make_batch, test, cosine_rate)
    start = time.perf_counter()
    bits = compressed_bits_per_byte(run)
    return [
        # A compressor has none.
        Measurement(run.setting, 0, "parameters", math.nan),
        Measurement(run.setting, 0, "bits_per_byte", bits),
        Measurement(run.setting, 0, "seconds", time.perf_counter() - start),
    ]


def make_batch(run: Run, rows: int, seed: int) -> TaskBatch:
    """Windows of the training part, or for the seeds of validation of that to validate."""
    text = parts(run)
    return random_windows(text.train if seed >= TRAINING else text.validation, rows, run.data["length"], seed)


def test(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The bits per measured byte, of all and of groups of neighbouring rows."""
    text, length = parts(run), run.data["length"]
    rows, due = overlapping_rows(text.train, text.tested, length)
    nats = unlikelihood(model, rows, at_once=max(1, 2**15 // length))[:, -due:]
    yield from grouped(run.setting, "bits_per_byte", nats.mean(axis=1, dtype="float64") / math.log(2))


def overlapping_rows(before: np.ndarray, data: np.ndarray, length: int) -> tuple[np.ndarray, int]:
    """Rows whose second halves are the data: each byte is predicted from more than half a row.

    Args:
        before: bytes before the data, at least half a row and one.
        data: as many as a multiple of half a row.
        length: T, bytes from which the last of a row is predicted; even.

    Returns:
        `(rows, T + 1)` int32, and T / 2.
    """
    due = length // 2
    text = np.concatenate([before[-due - 1 :], data])
    starts = due * np.arange(len(data) // due)
    return text[starts[:, None] + np.arange(length + 1)].astype("int32"), due


def compressed_bits_per_byte(run: Run) -> float:
    """The bits that a compressor needs for each measured byte, alone or in addition to those of the training part."""
    text, compress = parts(run), COMPRESSORS[run.family]
    before, tested = text.train.tobytes(), text.tested.tobytes()
    size = len(compress(tested)) if run.setting == ALONE else len(compress(before + tested)) - len(compress(before))
    return 8 * size / len(tested)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    losses = table.curve(trial, "loss")[1]
    bits = {
        "validation": min(losses) / math.log(2) if losses else math.nan,
        "measured": table.value(trial, "bits_per_byte"),
    }
    return {
        **{f"bits per byte, {what}": "" if math.isnan(value) else f"{value:.3f}" for what, value in bits.items()},
        "less those of MQA": str(more_than_attention(table, trial) or ""),
    }


def more_than_attention(table: Table, trial: Trial) -> Interval | None:
    """The bits per byte of a model less those of MQA with the same seed at the rate that it keeps."""
    others = [other for other in kept_trials(table, "MQA", trial.setting) if other.seed == trial.seed]
    if not others or trial.family == "MQA":
        return None
    return difference(*(groups(table, one, "bits_per_byte") for one in (trial, others[0])))


def means(table: Table) -> list[tuple[float, str, str]]:
    """The bits of each model at the rate that was kept and of each compressor, from the fewest; more seeds are one."""
    found: dict[tuple[str, str], list[float]] = {}
    for trial in table.trials():
        if is_kept(table, trial):
            found.setdefault((trial.family, trial.setting), []).append(table.value(trial, "bits_per_byte"))
    return sorted((float(np.mean(bits)), *name) for name, bits in found.items())


def finding(table: Table) -> str:
    """The bits of each, of a compressor where it needs fewer."""
    fewest = {family: [bits] for bits, family, _ in reversed(means(table))}
    return ranking("{} needs {} bits a byte", fewest, "{:.2f}".format, least_first=True)


def draw(table: Table) -> Figure:
    """The bits of the models at the rates that were kept, and of the compressors, from the fewest down to the most."""
    figure, (axes,) = panels(1, styles=BARS)
    bars = means(table)
    for place, (bits, family, setting) in enumerate(bars):
        colour = BARS[LABELS.get(setting, family)][0]
        axes.barh([place], [bits], color=colour, height=0.7)
        axes.text(bits, place, f" {bits:.2f}", va="center")
    axes.set_yticks(range(len(bars)), [family for _, family, _ in bars])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    axes.set_xlabel("bits per byte of held-out text")
    return figure
