"""The encoder compared with LSTM, GRU, bidirectional LSTM and a causal convolution of 10,000 parameters.

    KERAS_BACKEND=jax python benchmarks/sequences.py FILE.csv [--data italy,leaves] [--models encoder,lstm]

For each data set of `sequence_data.py` and each model, all in the same way: the pool is the one with the lowest error
on the validation rows at two learning rates; then rates are added by factors of three until the best is not at an edge.
Validation rows are drawn three times from those for training, unless they are the last in time. Then five seeds are
trained with these choices on all rows for training, and judged on those for testing at the end of the run, without
early stopping. Sets of long rows have one draw and three seeds. Every finished run is a line of the file, and is not
repeated.

    ... --variants "s5 16 taps and no MLP"  how the encoder was chosen: on test rows of data that are not held out
    ... --times                             an epoch of `fit` of each model with its choices, on the active backend
    ... --table                             print what the file says, first of the variants
"""

import argparse
import csv
import fcntl
import statistics
import time
from pathlib import Path

import keras
import numpy as np
import sequence_models
from sequence_data import DATA, Data, published
from sequence_training import BATCH_SIZE, Trainer

from keras_griffin.training import retain_memory

#: Left out of every choice, and looked at once, at the end.
HELD_OUT = ("elnino", "motions", "appliances")
#: The first rates; the others are 3 or 10 / 3 times as far.
FIRST_RATES = (3e-3, 1e-2)
ALL_RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
#: Of rows of 400 steps and more, which take an hour for each of the others', one draw and three seeds.
LONG = ("leaves", "adding", "appliances")
STEPS = {"appliances": 300}
KEYS = ("data", "model", "pool", "learning_rate", "part", "seed")
FIELDS = (*KEYS, "width", "parameters", "train_loss", "loss", "error", "seconds", "errors")


def draws_of(name: str) -> tuple[range, range]:
    """The draws of validation rows, and the seeds of the runs that are reported."""
    return (range(1), range(3)) if name in LONG else (range(3), range(5))


class Bench:
    """One model on one data set, and the file of runs."""

    def __init__(self, path: Path, data: Data, model: str):
        self.path, self.data, self.model = path, data, model
        self.folds, self.seeds = draws_of(data.name)
        self._trainers: dict = {}
        self._width = None

    def runs(self, **chosen) -> list[dict]:
        """The finished runs with these values."""
        chosen = {"data": self.data.name, "model": self.model, **chosen}
        return [row for row in read(self.path) if all(row[key] == str(value or "") for key, value in chosen.items())]

    def finish(self, pool, rate, part, seed):
        """Do a run unless its line exists, and write the line."""
        if self.runs(pool=pool, learning_rate=rate, part=part, seed=str(seed)):
            return
        self._width = self._width or sequence_models.width_of(self.model, self.data)
        if pool not in self._trainers:

            def make():
                return sequence_models.model_of(self.model, self.data, self._width, pool)

            self._trainers[pool] = Trainer(make, self.data, STEPS.get(self.data.name, 600))
        trainer, start = self._trainers[pool], time.perf_counter()
        result = trainer.run(rate, seed, part == "search")
        seconds, parameters = time.perf_counter() - start, trainer.model.count_params()
        key = (self.data.name, self.model, pool, rate, part, seed)
        numbers = (f"{x:.5g}" for x in (result.train_loss, result.loss, result.error, seconds))
        row = (*key, self._width, parameters, *numbers, " ".join(f"{x:.5g}" for x in result.errors))
        append(self.path, row)
        print(*row, flush=True)

    def score(self, pool, rate) -> tuple[float, float]:
        """The mean error on the validation rows, and the mean loss, which decides between equal errors."""
        rows = self.runs(pool=pool, learning_rate=rate, part="search")
        return tuple(statistics.mean(float(row[field]) for row in rows) for field in ("error", "loss"))

    def search(self) -> tuple[str | None, float]:
        """The pool and the learning rate with the least error on the validation rows."""
        pools, tried = sequence_models.pools_of(self.model, self.data), list(FIRST_RATES)
        for pool in pools:
            self.try_rates(pool, tried)
        pool = min(pools, key=lambda pool: min(self.score(pool, rate) for rate in tried))
        while True:
            best = ALL_RATES.index(min(tried, key=lambda rate: self.score(pool, rate)))
            more = [rate for rate in ALL_RATES[max(0, best - 1) : best + 2] if rate not in tried]
            if not more:
                return pool, ALL_RATES[best]
            self.try_rates(pool, more)
            tried += more

    def try_rates(self, pool, rates):
        """Search runs of a pool."""
        for rate in rates:
            for seed in self.folds:
                self.finish(pool, rate, "search", seed)

    def test(self):
        """The runs that are reported."""
        pool, rate = self.search()
        for seed in self.seeds:
            self.finish(pool, rate, "test", seed)

    def choice(self):
        """The runs of a variant of the encoder."""
        (pool,) = sequence_models.pools_of(self.model, self.data)
        for rate in FIRST_RATES:
            for seed in range(3):
                self.finish(pool, rate, "choice", seed)


def seconds_an_epoch(path: Path, data: Data, names: list[str], repeats: int = 5) -> dict[str, float]:
    """The fastest of several epochs of each model with its choices, in turns; with whole batches alone."""
    rows = len(data.train.features) // BATCH_SIZE * BATCH_SIZE
    part, models, seconds = [array[:rows] for array in data.train], {}, dict.fromkeys(names, float("inf"))
    loss = "mse" if data.num_classes is None else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for name in names:
        bench = Bench(path, data, name)
        pool, rate = bench.search()
        width = int(bench.runs(part="test")[0]["width"])
        models[name] = sequence_models.model_of(name, data, width, pool)
        models[name].compile(keras.optimizers.Adam(rate, clipnorm=1.0), loss)
    for turn in range(repeats + 1):
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(part[0], part[1], sample_weight=part[2], batch_size=BATCH_SIZE, verbose=0)
            if turn:
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def print_times(path: Path, data: Data, names: list[str]):
    """Seconds of an epoch and to the best error of a run, and their ratios to LSTM's."""
    seconds = seconds_an_epoch(path, data, names)
    epochs = STEPS.get(data.name, 600) * BATCH_SIZE / len(data.train.features)
    for name in names:
        pool, rate = Bench(path, data, name).search()
        rows = Bench(path, data, name).runs(pool=pool, learning_rate=rate, part="test")
        curve = np.mean([list(map(float, row["errors"].split())) for row in rows], axis=0)
        to_best = (1 + np.argmin(curve)) / len(curve) * epochs * seconds[name]
        ratio = seconds[name] / seconds["lstm"]
        print(f"| {data.name} | {name} | {seconds[name]:.3f} | {ratio:.2f} | {to_best:.1f} |", flush=True)


def print_choices(path: Path, data_names: list[str]):
    """The error of each variant at the better of its two rates, on the data where it was tried."""
    errors: dict = {}
    for row in read(path):
        if row["part"] == "choice":
            errors.setdefault((row["model"], row["data"], row["learning_rate"]), []).append(float(row["error"]))
    best: dict = {}
    for (model, data, _), found in errors.items():
        if len(found) == 3:
            best[model, data] = min(best.get((model, data), np.inf), statistics.mean(found))
    names = [name for name in data_names if any(data == name for _, data in best)]
    print(f"| variant | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|")
    # Those in the file: some are of a pool or a unit that was taken out again.
    for model in dict.fromkeys(model for model, _ in sorted(best, key=lambda key: key[0] != "rg_lru 4 taps")):
        cells = [
            f"{best[model, name]:.{0 if name == 'demand' else 2}f}" if (model, name) in best else "" for name in names
        ]
        if any(cells):
            print(f"| {model} | {' | '.join(cells)} |")


def finished(path: Path, data: Data, names: list[str]) -> dict[str, list[dict]]:
    """The reported runs of each model that has all of them."""
    benches = {name: Bench(path, data, name) for name in names}
    found = {name: bench.runs(part="test") for name, bench in benches.items()}
    return {name: rows for name, rows in found.items() if len(rows) >= len(benches[name].seeds)}


def shown(error: float, data: Data) -> str:
    """An error with the digits that differ between seeds."""
    return f"{error:.{3 if data.scale == 1 else 0 if data.unit == 'MW' else 2}f}"


def mean_errors(runs: dict[str, list[dict]]) -> dict[str, float]:
    """Of the reported runs of each model."""
    return {name: statistics.mean(float(row["error"]) for row in rows) for name, rows in runs.items()}


def verdict(encoder: list[dict], others: list[list[dict]]) -> str:
    """Of an encoder's runs beside those of the best other model: `even` if the ranges over seeds overlap."""
    encoder, *others = ([float(row["error"]) for row in rows] for rows in (encoder, *others))
    best = min(others, key=statistics.mean)
    if min(encoder) <= max(best) and min(best) <= max(encoder):
        return "even"
    return "best" if max(encoder) < min(best) else "worse"


def print_summary(path: Path, data: Data, names: list[str]):
    """A line with each model's error, the least in bold, and the encoder with the least on validation rows."""
    runs = finished(path, data, names)
    errors = mean_errors(runs)
    scores = {
        name: Bench(path, data, name).score(rows[0]["pool"], rows[0]["learning_rate"])
        for name, rows in runs.items()
        if "encoder" in name
    }
    least = min((shown(error, data) for error in errors.values()), key=float, default=None)
    cells = [shown(errors[name], data) if name in errors else "" for name in names]
    cells = [f"**{cell}**" if cell and cell == least else cell for cell in cells]
    chosen = min(scores, key=scores.get, default="")
    others = [rows for name, rows in runs.items() if "encoder" not in name]
    ends = f"{chosen} | {verdict(runs[chosen], others) if chosen and others else ''}"
    held = ", held out" if data.name in HELD_OUT else ""
    print(f"| {data.name}{held} | {data.unit} | {' | '.join(cells)} | {ends} |")


def print_table(path: Path, data: Data, names: list[str]):
    """The errors of a data set with their spread, losses and choices, the least error in bold."""
    runs = finished(path, data, names)
    means = mean_errors(runs)
    least = min((shown(mean, data) for mean in means.values()), key=float, default=None)
    for name, rows in runs.items():
        errors = [float(row["error"]) for row in rows]
        mean = shown(means[name], data)
        spread = f"{shown(min(errors), data)} to {shown(max(errors), data)}"
        losses = (statistics.mean(float(row[field]) for row in rows) for field in ("train_loss", "loss"))
        cells = (spread, *(f"{loss:.3f}" for loss in losses), rows[0]["parameters"])
        ends = f"{rows[0]['pool'] or 'each step'} | {rows[0]['learning_rate']}"
        bold = "**" if mean == least else ""
        print(f"| {data.name} | {name} | {bold}{mean}{bold} {data.unit} | {' | '.join(cells)} | {ends} |")
    for name, value in published(data.name).items() if runs else ():
        print(f"| {data.name} | {name}, published | {value:.2f} % | | | | | | |")


def print_tables(path: Path, data_names: list[str], names: list[str]):
    """What the file says: of variants, in short, and in full."""
    print_choices(path, data_names)
    data = [DATA[name]() for name in data_names]
    print(f"\n| data | unit | {' | '.join(names)} | the encoder chosen on validation rows | beside the best other |")
    print("|---" * (len(names) + 4) + "|")
    for each in data:
        print_summary(path, each, names)
    print("\n| data | model | error: mean | least to most | training loss | test loss | parameters | pool | rate |")
    print("|---|---|---|---|---|---|---|---|---|")
    for each in data:
        print_table(path, each, names)


def read(path: Path) -> list[dict]:
    """The lines of the file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(path: Path, row):
    """Write a line; several processes may."""
    with path.open("a", newline="", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = csv.writer(file)
        if not file.tell():
            writer.writerow(FIELDS)
        writer.writerow(row)


def main():
    """Do the missing runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE.csv", help="of the finished runs")
    parser.add_argument("--data", default=",".join(DATA), help="separated by commas (default: all)")
    models = ",".join(sequence_models.MODELS)
    parser.add_argument("--models", default=models, help="separated by commas (default: %(default)s)")
    parser.add_argument("--variants", help="separated by commas: only search, on data that are not held out")
    parser.add_argument("--times", action="store_true", help="print the seconds of an epoch")
    parser.add_argument("--table", action="store_true", help="print the errors")
    options = parser.parse_args()
    retain_memory()
    names = (options.variants or options.models).split(",")
    if options.table:
        print_tables(options.file, options.data.split(","), names)
        return
    for data_name in options.data.split(","):
        if options.variants and data_name in HELD_OUT:
            continue
        data = DATA[data_name]()
        apt = [name for name in names if sequence_models.pools_of(name, data)]
        if options.times:
            print_times(options.file, data, apt)
            continue
        for name in apt:
            bench = Bench(options.file, data, name)
            if options.variants:
                bench.choice()
            else:
                bench.test()
            keras.backend.clear_session()


if __name__ == "__main__":
    main()
