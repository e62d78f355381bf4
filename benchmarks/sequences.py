"""The encoder beside LSTM, GRU, a causal convolution and a bare RG-LRU, at equal numbers of parameters.

    KERAS_BACKEND=jax python benchmarks/sequences.py FILE.csv [--data vowels,leaves] [--models encoder,slow,narrow]

For each data set of `sequence_data.py` and each model the learning rate is the best of three on the validation rows,
with one seed; then three seeds are trained with it. A run keeps the weights of its best epoch on the validation rows,
and its error is that on the test rows. Every finished run is a line of the file, and a run that is there is not made
again. At the end the table is printed, with seconds an epoch and milliseconds a streamed step, measured in turns.

Three more are run when they are named: the encoder with one of its defaults as a language model has it, by which the
default is judged.
"""

import argparse
import bisect
import csv
import functools
import random
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers
from sequence_data import DATA, Data
from timing import BACKEND, compiled, least_seconds, wait

from keras_griffin.layers import RGLRU
from keras_griffin.models import SequenceEncoder

PARAMETERS = 24_000
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
SEEDS = (0, 1, 2)
BATCH_SIZE = 32
EPOCHS = {"demand": 40, "vowels": 60, "leaves": 80, "exercises": 30}
FIELDS = ("data", "model", "learning_rate", "seed", "validation", "test", "epoch")


def encoder(width, pool, **options):
    """Two residual blocks."""
    return [SequenceEncoder(width, 2, pool=pool, name="body", **options)]


def slow(width, pool):
    """Its decays start between 0.9 and 0.999."""
    return encoder(width, pool, mixer_options={"recurrent": {"decay_range": (0.9, 0.999)}})


def narrow(width, pool):
    """Its gates have 16 blocks, of 2 to 6 channels."""
    narrow_gates = {"recurrent": {"num_gate_blocks": 16}}
    return encoder(width, pool, recurrence_width=16 * round(width / 12), mixer_options=narrow_gates)


def wide(width, pool):
    """Its MLPs are three times as wide as the stream."""
    return encoder(width, pool, mlp_width=3 * width)


def bare(width, pool):
    """An RG-LRU behind a dense layer, as a user of LSTM would first write it."""
    return [layers.Dense(width), RGLRU(return_sequences=pool is None, name="body")]


def lstm(width, pool):
    """Keras's."""
    return [layers.LSTM(width, return_sequences=pool is None, name="body")]


def gru(width, pool):
    """Keras's."""
    return [layers.GRU(width, return_sequences=pool is None, name="body")]


def convolution(width, pool):
    """Six causal convolutions of three taps, each twice as far apart as the one before: 127 steps are seen."""
    taps = [layers.Conv1D(width, 3, padding="causal", dilation_rate=2**n, activation="relu") for n in range(6)]
    return [*taps, *([] if pool is None else [layers.GlobalAveragePooling1D()])]


MODELS = {"encoder": encoder, "bare": bare, "lstm": lstm, "gru": gru, "convolution": convolution}
#: The encoder with another value of a default.
VARIANTS = {"slow": slow, "narrow": narrow, "wide": wide}


def make(name: str, data: Data, width: int) -> keras.Model:
    """A model for a data set; its head is one dense layer."""
    num_features = data.train.features.shape[-1]
    inputs = keras.Input((None, num_features))
    x = layers.Masking()(inputs)
    for layer in {**MODELS, **VARIANTS}[name](width, None if data.is_labelled_by_step else "last"):
        x = layer(x)
    outputs = layers.Dense(data.num_classes or num_features)(x)
    return keras.Model(inputs, outputs)


@functools.cache
def width_of(name: str, data_name: str) -> int:
    """The width, a multiple of 4, at which a model has about as many parameters as all others."""
    data = load(data_name)
    widths = range(16, 161, 4)
    # The first one with too many, or the one before it.
    place = bisect.bisect_left(widths, PARAMETERS, key=lambda width: make(name, data, width).count_params())
    nearest = widths[max(0, place - 1) : place + 1]
    return min(nearest, key=lambda width: abs(make(name, data, width).count_params() - PARAMETERS))


@functools.cache
def load(name: str) -> Data:
    """The data set of that name."""
    return DATA[name]()


def compile_model(model, data, learning_rate):
    """Adam, with gradients clipped as is usual for recurrences."""
    loss = "mse" if data.num_classes is None else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metric = "mae" if data.num_classes is None else "accuracy"
    model.compile(keras.optimizers.Adam(learning_rate, clipnorm=1.0), loss, weighted_metrics=[metric])


def error(model, data, part) -> float:
    """The mean absolute error, or the share of wrong classes."""
    *_, metric = model.evaluate(*part[:2], sample_weight=part.weights, batch_size=BATCH_SIZE, verbose=0)
    return data.scale * (metric if data.num_classes is None else 1.0 - metric)


class BestWeights(keras.callbacks.Callback):
    """The weights of the epoch with the least error on the validation rows."""

    def __init__(self, data):
        super().__init__()
        self.data, self.least, self.epoch, self.best = data, np.inf, 0, None

    def on_epoch_end(self, epoch, logs=None):
        """Look."""
        value = error(self.model, self.data, self.data.validation)
        if value < self.least:
            self.least, self.epoch, self.best = value, epoch, self.model.get_weights()


def run(data_name: str, model_name: str, learning_rate: float, seed: int) -> dict:
    """Train once: a line of the file."""
    data = load(data_name)
    random.seed(seed)
    np.random.seed(seed)
    keras.utils.set_random_seed(seed)
    model = make(model_name, data, width_of(model_name, data_name))
    compile_model(model, data, learning_rate)
    best = BestWeights(data)
    train = data.train
    model.fit(
        *train[:2],
        sample_weight=train.weights,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS[data_name],
        callbacks=[best],
        verbose=0,
    )
    model.set_weights(best.best)
    values = data_name, model_name, learning_rate, seed, best.least, error(model, data, data.test), best.epoch
    return dict(zip(FIELDS, values, strict=True))


def runs_in(path: Path) -> list[dict]:
    """The finished runs."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {**row, **{field: float(row[field]) for field in ("learning_rate", "validation", "test")}}
            for row in csv.DictReader(file)
        ]


def all_runs(path: Path, data_names, model_names):
    """Make the runs that are missing, those that choose the learning rate first."""
    for data_name in data_names:
        for model_name in model_names:
            for rate in LEARNING_RATES:
                finish(path, data_name, model_name, rate, SEEDS[0])
            rate = best_rate(runs_in(path), data_name, model_name)
            for seed in SEEDS[1:]:
                finish(path, data_name, model_name, rate, seed)


def best_rate(runs, data_name, model_name) -> float:
    """That of the first seed's least error on the validation rows."""
    first = [r for r in runs if (r["data"], r["model"], int(r["seed"])) == (data_name, model_name, SEEDS[0])]
    return min(first, key=lambda row: row["validation"])["learning_rate"]


def finish(path, data_name, model_name, rate, seed):
    """Make a run unless it is there, and write its line."""
    key = data_name, model_name, rate, seed
    if any((r["data"], r["model"], r["learning_rate"], int(r["seed"])) == key for r in runs_in(path)):
        return
    start = time.perf_counter()
    row = run(*key)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if is_new:
            writer.writeheader()
        writer.writerow(row)
    print(row, f"{time.perf_counter() - start:.0f} s", flush=True)


def seconds_an_epoch(data_name, model_names, repeats: int = 3) -> dict[str, float]:
    """The least of several epochs of each model, in turns, all rows in full batches."""
    data, models = load(data_name), {}
    rows = len(data.train.features) // BATCH_SIZE * BATCH_SIZE
    train = [array[:rows] for array in data.train]
    for name in model_names:
        models[name] = make(name, data, width_of(name, data_name))
        compile_model(models[name], data, 1e-3)
    seconds = dict.fromkeys(models, np.inf)
    for turn in range(repeats + 1):
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(*train[:2], sample_weight=train[2], batch_size=BATCH_SIZE, verbose=0)
            if turn:
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def milliseconds_a_step(data_name, name) -> float:
    """One sample of one row from a state, without the head; a convolution reads again all that it sees."""
    data, width = load(data_name), width_of(name, data_name)
    model = make(name, data, width)
    sample = keras.ops.convert_to_tensor(data.train.features[:1, 0])
    if name == "convolution":
        past = keras.ops.convert_to_tensor(np.resize(data.train.features[:1], (1, 127, sample.shape[1])))
        body = keras.Model(model.input, model.layers[-2].output)
        return 1e3 * least_seconds(compiled(lambda x: body(x)), past, budget=1.0)
    body = model.get_layer("body")
    if name in ("encoder", *VARIANTS):
        state = body.initial_state(1)
        times = []
        for _ in range(300):
            start = time.perf_counter()
            outputs, state = body.step(sample, state)
            wait(outputs)
            times.append(time.perf_counter() - start)
        return 1e3 * float(np.min(times))
    if name == "bare":
        dense = model.layers[2]
        step = compiled(lambda x, state: body.advance(dense(x)[:, None], state))
        return 1e3 * least_seconds(step, sample, body.initial_state(1), budget=1.0)
    states = [keras.ops.zeros((1, width)) for _ in range(2 if name == "lstm" else 1)]
    return 1e3 * least_seconds(compiled(lambda x, *h: body.cell(x, list(h))), sample, *states, budget=1.0)


def table(path, data_names, model_names):
    """Print what was found."""
    runs = runs_in(path)
    print("| data | model | parameters | error: mean | least to most | learning rate | s an epoch | ms a step |")
    print("|---|---|---|---|---|---|---|---|")
    for data_name in data_names:
        data, seconds = load(data_name), seconds_an_epoch(data_name, model_names)
        for name in model_names:
            rate = best_rate(runs, data_name, name)
            errors = [r["test"] for r in runs if (r["data"], r["model"], r["learning_rate"]) == (data_name, name, rate)]
            parameters = make(name, data, width_of(name, data_name)).count_params()
            spread = f"{min(errors):.1f} to {max(errors):.1f}"
            print(
                f"| {data_name} | {name} | {parameters:,} | {np.mean(errors):.1f} {data.unit} | {spread} | {rate:g} "
                f"| {seconds[name]:.2f} | {milliseconds_a_step(data_name, name):.2f} |",
                flush=True,
            )


def main():
    """Make the runs that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE.csv", help="of the finished runs")
    parser.add_argument("--data", default=",".join(DATA), help="separated by commas; all unless given")
    parser.add_argument("--models", default=",".join(MODELS), help="separated by commas; all unless given")
    parser.add_argument("--no-table", action="store_true", help="runs alone")
    options = parser.parse_args()
    names = options.data.split(","), options.models.split(",")
    all_runs(options.file, *names)
    if not options.no_table:
        print(f"\n### Sequences on {BACKEND}\n")
        table(options.file, *names)


if __name__ == "__main__":
    main()
