"""Mixers compared at one size: text, speed, the state's bytes, and three tasks of recall.

    PYTHONPATH=. KERAS_BACKEND=jax python benchmarks/lineage.py FILE.csv [--mixers griffin,gilr] [--parts speed,text]
        [--tokens N] [--small] [--report]

The rows are every mixer by its name, as the only one of a model; each recurrent unit in Griffin's recurrent block, such
as `recurrent:gilr`; and the patterns of Griffin, of Samba, and of Jamba with one block of attention in four. All have
width 128, four layers and a vocabulary of 256, and `match_parameters` gives them Griffin's number of parameters, to
1 %. Where a large unit would leave the MLPs less than half the width, the recurrent block is narrower than Griffin's.
Sparse attention has a stride of half the window.
All read the same batches in the same order, with one learning rate; the seeds, three, are those of the weights.

- Text: bits per byte of held-out source of Python's standard library after `--tokens` bytes of the rest.
- Selective copying: 16 tokens of 1,024. Induction heads: trained at 256, tested at 256, 1,024 and 4,096.
  Associative recall: trained with 4 to 64 pairs in 256 steps, tested with 64. Each is trained on four times the text's
  tokens, or until two tests in a row are without a mistake. Accuracies are of the answers.
- Size: parameters, and the bytes of a row's state after 2,048 tokens. Speed: of training steps on text, and of decoding
  after 2,048 tokens. Memory: what a training step adds, at its peak, to the process.

Size and speed of all rows come first, then the other parts with the first seed, so that the table has every row early.
Every finished part of a row is a line of the file, and is not repeated under the same settings. At the end the table
is printed; `--report` does only that.

`--small` is what two cores can do in some hours: width 64, three layers, 150,000 tokens of text, and tasks of 32 to 64
steps that most mixers begin to solve within 600,000 tokens.
"""

import argparse
import csv
import dataclasses
import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from timing import BACKEND, least_seconds, peak_bytes_of_the_process

from experiments.data.associative_recall import associative_recall
from keras_griffin.inspection import measure_decoding
from keras_griffin.inspection.match_parameters import match_parameters
from keras_griffin.layers import UNITS
from keras_griffin.mixers import mixer_names
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.tasks import induction_heads, selective_copying
from keras_griffin.tasks.text import load_corpus
from keras_griffin.training import BitsPerByte, HeldOutWindows, RandomWindows, default_optimizer

VOCABULARY_SIZE = 256
#: Patterns of several mixers, by row. None is Griffin's own.
PATTERNS = {
    "griffin": None,
    "samba": ("mamba", "local_mqa"),
    "jamba": ("mamba", "mamba", "global_mqa", "mamba"),
}
#: Test batches are drawn from seeds from here on, training batches from those below.
FIRST_TEST = 10**9


@dataclass(frozen=True)
class Settings:
    """The sizes of a comparison."""

    tokens: int = 2_000_000
    learning_rate: float = 2e-3
    width: int = 128
    num_layers: int = 4
    num_heads: int = 2
    window: int = 128
    seeds: tuple[int, ...] = (0, 1, 2)
    #: Of a window of text, and windows in a batch and held out.
    length: int = 256
    batch_size: int = 8
    held_out: int = 1024
    #: The tokens of a task in units of the text's, tokens in one of its batches, and rows of a test.
    task_share: int = 4
    task_batch: int = 8192
    test_rows: int = 256
    #: How often training on a task may end early.
    checks: int = 20
    copied: tuple[int, int] = (1024, 16)
    induction: tuple[int, ...] = (256, 1024, 4096)
    #: Steps, the most pairs, and the vocabulary.
    recalled: tuple[int, int, int] = (256, 64, VOCABULARY_SIZE)
    #: Tokens before a decoding step, timed steps and their runs; and seconds for timing training steps.
    context: int = 2048
    decoded: int = 32
    runs: int = 9
    budget: float = 4.0

    @property
    def name(self) -> str:
        """What distinguishes these settings in a file."""
        return f"{self.num_layers} layers of {self.width}, {self.tokens} tokens"

    @property
    def griffin(self) -> GriffinConfig:
        """The model whose number of parameters all have."""
        return GriffinConfig(
            VOCABULARY_SIZE,
            self.width,
            self.num_layers,
            num_heads=self.num_heads,
            window=self.window,
            # As in the results.
            decay_initializer="paper",
        )


SMALL = Settings(
    tokens=150_000,
    learning_rate=4e-3,
    width=64,
    num_layers=3,
    window=32,
    length=128,
    held_out=256,
    task_batch=1024,
    test_rows=512,
    checks=10,
    copied=(32, 4),
    induction=(64, 256, 1024),
    recalled=(32, 4, 64),
)


def row_names() -> list[str]:
    """Every row: patterns, mixers, and the units in a recurrent block, where RG-LRU's own row is `recurrent`."""
    return [*PATTERNS, *mixer_names(), *(f"recurrent:{unit}" for unit in UNITS if unit != "rg_lru")]


def config_of(name: str, settings: Settings) -> GriffinConfig:
    """The model of a row, with the parameters of Griffin's."""
    griffin = settings.griffin
    count = griffin.parameter_count()
    mixer, _, unit = name.partition(":")
    if not unit:
        pattern = PATTERNS.get(name, (name,)) or griffin.block_pattern
        options = {name: {"stride": settings.window // 2}} if name == "sparse_mqa" else {}
        return match_parameters(dataclasses.replace(griffin, block_pattern=pattern, mixer_options=options), count)
    options = {unit: {"mixer": mixer, "unit": unit}}
    config = dataclasses.replace(griffin, block_pattern=(unit,), mixer_options=options, mlp_width=settings.width // 2)
    if unit == "cg_lru":
        # Its gates are divided as RG-LRU's are, and have one number for two channels.
        pairs = 2 * config.num_gate_blocks
        config = dataclasses.replace(config, recurrence_width=config.recurrence_width // pairs * pairs)
    while config.parameter_count() > count and config.recurrence_width > config.num_gate_blocks:
        config = dataclasses.replace(config, recurrence_width=config.recurrence_width - config.num_gate_blocks)
    return match_parameters(config, count)


def make(name: str, settings: Settings, seed: int, steps: int) -> keras.Model:
    """A compiled model."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = Griffin(config_of(name, settings))
    model.compile(
        default_optimizer(model, settings.learning_rate, steps=steps, beta_2=0.99),
        model.loss,
        weighted_metrics=[BitsPerByte(name="bits")],
        jit_compile=BACKEND != "torch",
    )
    return model


@functools.cache
def corpus():
    """The text."""
    return load_corpus()


def text(name: str, settings: Settings, seed: int) -> dict:
    """The held-out bits per byte after training on text."""
    steps = max(1, settings.tokens // (settings.batch_size * settings.length))
    windows = RandomWindows(corpus().train, settings.length, settings.batch_size, num_batches=steps)
    held_out = HeldOutWindows(corpus().validation, settings.length, settings.batch_size, windows=settings.held_out)
    model = make(name, settings, seed, steps)
    for step in range(steps):
        model.train_on_batch(*windows[step])
    return {"bits": model.evaluate(held_out, verbose=0, return_dict=True)["bits"]}


def size(name: str, settings: Settings, seed: int) -> dict:
    """The parameters, and the bytes of a row's state."""
    model = make(name, settings, seed, steps=1)
    measured = measure_decoding(model, [settings.context], 1, steps=1, runs=1)
    return {"parameters": model.count_params(), "state_bytes": int(measured.state_bytes[0])}


def speed(name: str, settings: Settings, seed: int) -> dict:
    """Speed and peak memory of training, and milliseconds of decoding steps."""
    model = make(name, settings, seed, steps=1000)
    batch = RandomWindows(corpus().train, settings.length, settings.batch_size, num_batches=1)[0]
    seconds = least_seconds(model.train_on_batch, *batch, budget=settings.budget)
    peak = peak_bytes_of_the_process(model.train_on_batch, *batch)
    one, many = (
        measure_decoding(model, [settings.context], rows, steps=settings.decoded, runs=settings.runs)
        for rows in (1, 16)
    )
    return {
        "tokens_per_second": batch[0].size / seconds,
        "peak_mb": "" if peak is None else peak / 1e6,
        "ms_at_1": 1e3 * one.seconds_per_step[0],
        "ms_at_16": 1e3 * many.seconds_per_step[0],
    }


def copy(name: str, settings: Settings, seed: int) -> dict:
    """The accuracy in selective copying."""
    task = functools.partial(selective_copying, length=settings.copied[0], num_tokens=settings.copied[1])
    return recall(
        name, settings, seed, lambda rows, step: task(rows, seed=step), sum(settings.copied), {"copying": task}
    )


def induct(name: str, settings: Settings, seed: int) -> dict:
    """The accuracies with induction heads, by the test's length."""
    tests = {
        f"induction_{place}": functools.partial(induction_heads, length=length)
        for place, length in enumerate(settings.induction)
    }
    shortest = settings.induction[0]
    return recall(name, settings, seed, lambda rows, step: induction_heads(rows, shortest, seed=step), shortest, tests)


def associate(name: str, settings: Settings, seed: int) -> dict:
    """The accuracy in associative recall with the answers in the rows; a training batch has 4, 8, 16, ... pairs."""
    length, most, vocabulary_size = settings.recalled
    task = functools.partial(associative_recall, length=length, vocabulary_size=vocabulary_size, answers=True)
    pairs = [2**power for power in range(2, most.bit_length()) if 2**power <= most]

    def batch(rows, step):
        return task(rows, num_pairs=int(np.random.default_rng(step).choice(pairs)), seed=step)

    return recall(name, settings, seed, batch, length, {"recall": functools.partial(task, num_pairs=most)})


def recall(name: str, settings: Settings, seed: int, batch: Callable, length: int, tests: dict[str, Callable]) -> dict:
    """Train on a task, and return the accuracy of each test.

    Args:
        name: of the row.
        settings: the sizes.
        seed: of the weights.
        batch: a function of the number of rows and of the training step.
        length: the steps of a training row.
        tests: by measure, a function of the number of rows and of a seed; the first also tells when training may end.
    """
    rows = max(1, round(settings.task_batch / length))
    steps = max(1, settings.task_share * settings.tokens // (rows * length))
    model = make(name, settings, seed, steps)
    first, streak = next(iter(tests.values())), 0
    for step in range(steps):
        model.train_on_batch(*batch(rows, step))
        if settings.checks and (step + 1) % max(1, steps // settings.checks) == 0:
            streak = streak + 1 if accuracy(model, first, settings, settings.test_rows // 4) == 1 else 0
            if streak == 2:
                break
    return {measure: accuracy(model, test, settings, settings.test_rows) for measure, test in tests.items()}


def accuracy(model: keras.Model, test: Callable, settings: Settings, num_rows: int) -> float:
    """The share of right answers in at least `num_rows` rows."""
    rows = max(1, round(settings.task_batch / test(1, seed=FIRST_TEST).token_ids.shape[1]))
    right = []
    for number in range(-(-num_rows // rows)):
        token_ids, targets, weights = test(rows, seed=FIRST_TEST + number)
        is_due = weights > 0
        right.append(model.predict_on_batch(token_ids)[is_due].argmax(axis=-1) == targets[is_due])
    return float(np.concatenate(right).mean())


#: What a row consists of: by part, its function, and whether it is done with every seed.
PARTS = {
    "size": (size, False),
    "speed": (speed, False),
    "text": (text, True),
    "recall": (associate, True),
    "copying": (copy, True),
    "induction": (induct, True),
}
MEASURES = (
    *("parameters", "tokens_per_second", "peak_mb", "ms_at_1", "ms_at_16", "state_bytes"),
    *("bits", "copying", "induction_0", "induction_1", "induction_2", "recall"),
)
FIELDS = ("settings", "backend", "row", "part", "seed", "seconds", *MEASURES)


def lines_in(path: Path, settings: Settings) -> list[dict]:
    """The finished parts of these settings on the active backend."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        lines = list(reader)
    if tuple(reader.fieldnames or ()) != FIELDS:
        raise SystemExit(f"lineage: {path} must have the columns {', '.join(FIELDS)}. Got {reader.fieldnames}.")
    return [line for line in lines if (line["settings"], line["backend"]) == (settings.name, BACKEND)]


def finish(path: Path, settings: Settings, name: str, part: str, seed: int) -> None:
    """Do a part of a row unless its line exists, and append the line."""
    key = {"row": name, "part": part, "seed": str(seed)}
    if any(key.items() <= line.items() for line in lines_in(path, settings)):
        return
    start = time.perf_counter()
    measures = PARTS[part][0](name, settings, seed)
    seconds = time.perf_counter() - start
    measures = {measure: f"{value:.6g}" if isinstance(value, float) else value for measure, value in measures.items()}
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="")
        if is_new:
            writer.writeheader()
        writer.writerow({"settings": settings.name, "backend": BACKEND, **key, "seconds": f"{seconds:.1f}", **measures})
    print(name, part, seed, measures, f"{seconds:.0f} s", file=sys.stderr, flush=True)


def values_by_row(lines: list[dict], names: list[str]) -> dict[str, dict[str, list[float]]]:
    """By row and measure, the values of the seeds, in the order of `names`; rows without any are left out."""
    found = {}
    for name in names:
        own = [line for line in lines if line["row"] == name]
        if own:
            found[name] = {measure: [float(line[measure]) for line in own if line[measure]] for measure in MEASURES}
    return found


def table(values: dict[str, dict[str, list[float]]], settings: Settings) -> str:
    """A line of Markdown for each row: the mean, and the least and the greatest of the seeds.

    What was measured for no row has no column.
    """
    (noisy, copied), (steps, pairs, _) = settings.copied, settings.recalled
    columns = {
        "parameters": ("parameters", "{:,.0f}", 1),
        "bits": ("bits per byte", "{:.3f}", 1),
        "tokens_per_second": ("tokens/s, training", "{:,.0f}", 1),
        "peak_mb": ("MB of a training step", "{:,.0f}", 1),
        "ms_at_1": ("ms a token, 1 row", "{:.2f}", 1),
        "ms_at_16": ("16 rows", "{:.2f}", 1),
        "state_bytes": (f"bytes of state at {settings.context:,} tokens", "{:,.0f}", 1),
        "copying": (f"copying {copied} of {noisy:,}, %", "{:.1f}", 100),
        **{
            f"induction_{place}": (f"induction at {length:,}, %", "{:.1f}", 100)
            for place, length in enumerate(settings.induction)
        },
        "recall": (f"recall of {pairs} pairs in {steps:,}, %", "{:.1f}", 100),
    }
    columns = {key: column for key, column in columns.items() if any(row[key] for row in values.values())}
    printed = [["", *(title for title, _, _ in columns.values())], ["---"] * (1 + len(columns))]
    for name, measures in values.items():
        printed.append([name, *(cell(measures[key], form, unit) for key, (_, form, unit) in columns.items())])
    return "\n".join(f"| {' | '.join(row)} |" for row in printed)


def cell(values: list[float], form: str, unit: float) -> str:
    """The mean of values, with their range if there are several; empty if there is none."""
    if not values:
        return ""
    mean, least, most = (form.format(unit * value) for value in (np.mean(values), min(values), max(values)))
    return mean if len(values) == 1 else f"{mean} ({least} to {most})"


def main():
    """Do the missing parts, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE.csv", help="of the finished parts")
    parser.add_argument("--mixers", help="separated by commas (default: all)")
    parser.add_argument("--parts", default=",".join(PARTS), help="separated by commas (default: %(default)s)")
    parser.add_argument("--tokens", type=int, help=f"of text (default: {Settings.tokens:,}, or {SMALL.tokens:,})")
    parser.add_argument("--small", action="store_true", help="a small comparison, of hours")
    parser.add_argument("--report", action="store_true", help="only print the table")
    options = parser.parse_args()
    names = options.mixers.split(",") if options.mixers else row_names()
    parts = options.parts.split(",")
    for what, given, known in (("mixers", names, row_names()), ("parts", parts, PARTS)):
        unknown = sorted(set(given) - set(known))
        if unknown:
            parser.error(f"the {what} are {', '.join(known)}. Got {', '.join(unknown)}.")
    settings = SMALL if options.small else Settings()
    if options.tokens is not None:
        settings = dataclasses.replace(settings, tokens=options.tokens)
    for seed in [] if options.report else settings.seeds:
        for part in parts:
            for name in names if PARTS[part][1] or seed == settings.seeds[0] else []:
                finish(options.file, settings, name, part, seed)
    values = values_by_row(lines_in(options.file, settings), names)
    print(f"\n### Mixers on {BACKEND}: {settings.name}\n\n{table(values, settings)}")


if __name__ == "__main__":
    main()
