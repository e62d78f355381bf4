"""The encoder compared with LSTM, GRU, a causal convolution and a bare RG-LRU of the same size.

    KERAS_BACKEND=jax python benchmarks/sequences.py FILE.csv [--data vowels,leaves] [--models encoder,slow,narrow]

For each data set of `sequence_data.py` and each model, the learning rate is the best of four on the validation rows,
with one seed, and so is the pooling of a row with one class: the last step or the mean of all. Then three seeds are
trained with these choices. In a run the learning rate falls to zero along a cosine, and the error is that on the test
rows at the end, without early stopping. Every finished run is a line of the file, and is not repeated. At the end the
table is printed, with seconds per epoch and milliseconds per streamed step, measured alternately on the active backend.

Four variants run only if named: the encoder in Griffin's pattern, with attention; and with one of its defaults replaced
by a language model's, to evaluate that default.
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
LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
SEEDS = (0, 1, 2)
BATCH_SIZE = 32
EPOCHS = {"demand": 80, "vowels": 60, "leaves": 100, "exercises": 30}
FIELDS = ("data", "model", "pool", "learning_rate", "seed", "validation", "test")


def encoder(width, pool, **options):
    """Two residual blocks."""
    return [SequenceEncoder(width, 2, pool=pool, name="body", **options)]


def griffin(width, pool):
    """The same in Griffin's pattern: the second block attends to the last 128 steps."""
    return encoder(width, pool, block_pattern=("recurrent", "local_mqa"))


def slow(width, pool):
    """The encoder with initial decays between 0.9 and 0.999."""
    return encoder(width, pool, mixer_options={"recurrent": {"decay_range": (0.9, 0.999)}})


def narrow(width, pool):
    """The encoder with gates of 16 blocks, of 2 to 6 channels."""
    narrow_gates = {"recurrent": {"num_gate_blocks": 16}}
    return encoder(width, pool, recurrence_width=16 * round(width / 12), mixer_options=narrow_gates)


def wide(width, pool):
    """The encoder with MLPs three times as wide as the stream."""
    return encoder(width, pool, mlp_width=3 * width)


def bare(width, pool):
    """An RG-LRU after a dense layer, a direct replacement of an LSTM, with the first decays of the results."""
    return [layers.Dense(width), RGLRU(decay_initializer="paper", return_sequences=pool != "last", name="body")]


def lstm(width, pool):
    """Keras's LSTM."""
    return [layers.LSTM(width, return_sequences=pool != "last", name="body")]


def gru(width, pool):
    """Keras's GRU."""
    return [layers.GRU(width, return_sequences=pool != "last", name="body")]


def convolution(width, pool):
    """Six causal convolutions of three taps, with doubling dilation: a receptive field of 127 steps."""
    return [layers.Conv1D(width, 3, padding="causal", dilation_rate=2**n, activation="relu") for n in range(6)]


MODELS = {"encoder": encoder, "bare": bare, "lstm": lstm, "gru": gru, "convolution": convolution}
#: The encoder with a different pattern, or a different value of one default.
VARIANTS = {"griffin": griffin, "slow": slow, "narrow": narrow, "wide": wide}


def pools_of(name: str, data: Data) -> tuple:
    """The poolings to try; the convolution's last step sees too little of a row."""
    if data.is_labelled_by_step:
        return (None,)
    return ("mean",) if name == "convolution" else ("last", "mean")


def make(name: str, data: Data, width: int, pool: str | None) -> keras.Model:
    """A model for a data set; its head is one dense layer."""
    num_features = data.train.features.shape[-1]
    inputs = keras.Input((None, num_features))
    x = layers.Masking()(inputs)
    for layer in {**MODELS, **VARIANTS}[name](width, pool):
        x = layer(x)
    if pool == "mean" and len(x.shape) == 3:
        # Explicit, because a convolution drops the mask.
        seen = keras.ops.any(keras.ops.not_equal(inputs, 0), axis=-1)
        x = layers.GlobalAveragePooling1D()(x, mask=seen)
    outputs = layers.Dense(data.num_classes or num_features)(x)
    return keras.Model(inputs, outputs)


@functools.cache
def width_of(name: str, data_name: str) -> int:
    """The width at which a model is closest to `PARAMETERS`: a multiple of 4, or of the 16 gate blocks."""
    data, unit = load(data_name), 16 if name == "bare" else 4
    widths = range(16, 513, unit)

    def parameters(width):
        return make(name, data, width, pools_of(name, data)[0]).count_params()

    # The first one with too many, or the one before it.
    place = bisect.bisect_left(widths, PARAMETERS, key=parameters)
    return min(widths[max(0, place - 1) : place + 1], key=lambda width: abs(parameters(width) - PARAMETERS))


@functools.cache
def load(name: str) -> Data:
    """The data set of that name."""
    return DATA[name]()


def compile_model(model, data, learning_rate):
    """Compile with Adam and gradient clipping, as usual for recurrences.

    Args:
        model: from `make`.
        data: its data set.
        learning_rate: a number or a schedule.
    """
    loss = "mse" if data.num_classes is None else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metric = "mae" if data.num_classes is None else "accuracy"
    model.compile(keras.optimizers.Adam(learning_rate, clipnorm=1.0), loss, weighted_metrics=[metric])


def error(model, data, part) -> float:
    """The mean absolute error, or the share of wrong classes."""
    *_, metric = model.evaluate(*part[:2], sample_weight=part.weights, batch_size=BATCH_SIZE, verbose=0)
    return data.scale * (metric if data.num_classes is None else 1.0 - metric)


def run(data_name: str, model_name: str, pool: str | None, learning_rate: float, seed: int) -> dict:
    """Train once; return a line of the file."""
    data = load(data_name)
    random.seed(seed)
    np.random.seed(seed)
    keras.utils.set_random_seed(seed)
    model = make(model_name, data, width_of(model_name, data_name), pool)
    train, epochs = data.train, EPOCHS[data_name]
    steps = epochs * -(-len(train.features) // BATCH_SIZE)
    compile_model(model, data, keras.optimizers.schedules.CosineDecay(learning_rate, steps))
    model.fit(*train[:2], sample_weight=train.weights, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    errors = (error(model, data, part) for part in (data.validation, data.test))
    return dict(zip(FIELDS, (data_name, model_name, pool, learning_rate, seed, *errors), strict=True))


def runs_in(path: Path) -> list[dict]:
    """The finished runs."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {
                **row,
                "pool": row["pool"] or None,
                "seed": int(row["seed"]),
                **{field: float(row[field]) for field in ("learning_rate", "validation", "test")},
            }
            for row in csv.DictReader(file)
        ]


def all_runs(path: Path, data_names, model_names):
    """Do the missing runs, first those that select the pooling and the learning rate."""
    for data_name in data_names:
        for model_name in model_names:
            for pool in pools_of(model_name, load(data_name)):
                for rate in LEARNING_RATES:
                    finish(path, data_name, model_name, pool, rate, SEEDS[0])
            chosen = choice(runs_in(path), data_name, model_name)
            for seed in SEEDS[1:]:
                finish(path, data_name, model_name, *chosen, seed)


def choice(runs, data_name, model_name) -> tuple[str | None, float]:
    """The pooling and the learning rate with the first seed's lowest validation error."""
    first = [r for r in runs if (r["data"], r["model"], r["seed"]) == (data_name, model_name, SEEDS[0])]
    best = min(first, key=lambda row: row["validation"])
    return best["pool"], best["learning_rate"]


def finish(path, *key):
    """Do the run of data, model, pool, rate and seed unless its line exists, and write the line."""
    if any(tuple(row[field] for field in FIELDS[: len(key)]) == key for row in runs_in(path)):
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


def seconds_an_epoch(data_name, pools, repeats: int = 3) -> dict[str, float]:
    """The fastest of several epochs of each model with its pooling, alternating, with full batches only."""
    data, models = load(data_name), {}
    rows = len(data.train.features) // BATCH_SIZE * BATCH_SIZE
    train = [array[:rows] for array in data.train]
    for name, pool in pools.items():
        models[name] = make(name, data, width_of(name, data_name), pool)
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
    """The time of one sample of one row from a state, without the head; a convolution rereads its receptive field."""
    data, width = load(data_name), width_of(name, data_name)
    # A vector for each step, whatever the pool.
    model = make(name, data, width, None)
    sample = keras.ops.convert_to_tensor(data.train.features[:1, 0])
    if name == "convolution":
        past = keras.ops.convert_to_tensor(np.resize(data.train.features[:1], (1, 127, sample.shape[1])))
        body = keras.Model(model.input, model.layers[-2].output)
        return 1e3 * least_seconds(compiled(lambda x: body(x)), past, budget=1.0)
    body = model.get_layer("body")
    if isinstance(body, SequenceEncoder):
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
    """Print the results."""
    runs = runs_in(path)
    print("| data | model | parameters | error: mean | least to most | pool | learning rate | s an epoch | ms a step |")
    print("|---|---|---|---|---|---|---|---|---|")
    for data_name in data_names:
        data = load(data_name)
        choices = {name: choice(runs, data_name, name) for name in model_names}
        seconds = seconds_an_epoch(data_name, {name: pool for name, (pool, _) in choices.items()})
        for name, (pool, rate) in choices.items():
            errors = [r["test"] for r in runs if tuple(r[f] for f in FIELDS[:4]) == (data_name, name, pool, rate)]
            parameters = make(name, data, width_of(name, data_name), pool).count_params()
            spread = f"{min(errors):.1f} to {max(errors):.1f}"
            print(
                f"| {data_name} | {name} | {parameters:,} | {np.mean(errors):.1f} {data.unit} | {spread} "
                f"| {pool or ''} | {rate:g} | {seconds[name]:.2f} | {milliseconds_a_step(data_name, name):.2f} |",
                flush=True,
            )


def main():
    """Do the missing runs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE.csv", help="of the finished runs")
    parser.add_argument("--data", default=",".join(DATA), help="separated by commas (default: all)")
    parser.add_argument("--models", default=",".join(MODELS), help="separated by commas (default: %(default)s)")
    parser.add_argument("--no-table", action="store_true", help="only do the runs")
    options = parser.parse_args()
    names = options.data.split(","), options.models.split(",")
    all_runs(options.file, *names)
    if not options.no_table:
        print(f"\n### Sequences on {BACKEND}\n")
        table(options.file, *names)


if __name__ == "__main__":
    main()
