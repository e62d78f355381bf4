"""Training steps with and without `retain_memory`: the processor's time for the program and for the system.

    KERAS_BACKEND=jax python benchmarks/retained_memory.py [--models series] [--turns 2] [--only "400 steps"]

Each way has its own process, and the two take turns. `text`: a Hawk of six layers of width 64 that reads 16 rows of 256
tokens, and `griffin_100m` with one row of 512 tokens. `series`: a `SequenceEncoder`, and LSTM of equal width and of
equal parameters, with 32 rows of 100, 400 and 1,600 numbers. On TensorFlow `series` has a third way, in which XLA
compiles the step too: on a CPU Keras does so only if it is told to. The time of the system is that of page faults:
nothing else in a step asks it for anything. `ms` is the median of the steps, the rest their mean.
"""

import argparse
import functools
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from timing import BACKEND

from keras_griffin.models import Griffin, GriffinConfig, Hawk, SequenceEncoder, presets
from keras_griffin.training import AdamW, retain_memory

WAYS = ("as it is", "retained")
WITH_XLA = "retained, XLA"


class Case(NamedTuple):
    """A model's training step."""

    #: Returns the compiled model, its inputs and targets.
    make: Callable
    steps: int


def text(kind, config, rows, length):
    """A language model and its tokens."""
    tokens = np.random.default_rng(0).integers(0, config.vocabulary_size, (rows, length + 1)).astype("int32")
    model = kind(config)
    model.compile(AdamW(1e-4), model.loss, jit_compile=BACKEND != "torch")
    return model, tokens[:, :-1], tokens[:, 1:]


def series(length, joined, *layers):
    """A classifier of rows of numbers, of which so many neighbours are joined."""
    rows = np.random.default_rng(0).normal(size=(32, length, 1)).astype("float32")
    inputs = keras.Input((length, 1))
    x = inputs if joined == 1 else keras.layers.Reshape((-1, joined))(inputs)
    for layer in layers:
        x = layer()(x)
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3, clipnorm=1.0), loss)
    return model, rows, np.arange(32) % 10


def encoder(*sizes, **options):
    """A `SequenceEncoder` and a mean."""
    return functools.partial(SequenceEncoder, *sizes, pool="mean", **options)


def lstm(width):
    """LSTM and a mean."""
    return functools.partial(keras.layers.LSTM, width, return_sequences=True), keras.layers.GlobalAveragePooling1D


TEXT = {
    "Hawk, 0.3 M": Case(
        functools.partial(text, Hawk, GriffinConfig(256, 64, 6, num_heads=2, recurrence_width=80), 16, 256), 40
    ),
    "griffin_100m": Case(functools.partial(text, Griffin, presets()["griffin_100m"], 1, 512), 4),
}
LENGTHS = (100, 400, 1600)
SERIES = {
    f"{name}, {length} steps": Case(functools.partial(series, length, joined, *layers), max(4, 8000 // length))
    for length in LENGTHS
    for name, joined, layers in (
        ("encoder 32", 1, [encoder(32)]),
        ("encoder 32, 2 steps joined", 2, [encoder(32)]),
        ("encoder 32, 4 steps joined", 4, [encoder(32)]),
        ("encoder 46 of one block", 1, [encoder(46, 1)]),
        ("encoder 40 of CG-LRU", 1, [encoder(40, unit="cg_lru")]),
        ("LSTM 32", 1, lstm(32)),
        ("LSTM 64", 1, lstm(64)),
    )
}


def measure(name, way):
    """A row of the table: milliseconds and page faults of a step, and the peak memory of the process."""
    if way != WAYS[0] and not retain_memory():
        sys.exit("retain_memory: the C library must be glibc.")
    case = {**TEXT, **SERIES}[name]
    model, inputs, targets = case.make()
    if way == WITH_XLA:
        model.jit_compile = True
    for _ in range(2):
        model.train_on_batch(inputs, targets)
    before, seconds = resource.getrusage(resource.RUSAGE_SELF), []
    for _ in range(case.steps):
        started = time.perf_counter()
        model.train_on_batch(inputs, targets)
        seconds.append(time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_SELF)
    in_both = [(after.ru_utime - before.ru_utime) / case.steps, (after.ru_stime - before.ru_stime) / case.steps]
    faults = (after.ru_minflt - before.ru_minflt) / case.steps
    milliseconds = (f"{1e3 * each:,.1f}" for each in (statistics.median(seconds), *in_both))
    row = [name, f"{model.count_params():,}", way, *milliseconds, f"{faults:,.0f}", f"{after.ru_maxrss >> 10:,}"]
    return f"| {' | '.join(row)} |"


def main():
    """Print the table, or in a process of its own one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--models", choices=("text", "series"), default="text")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    options = parser.parse_args()
    if options.row:
        print(measure(*options.row))
        return
    print(f"### Training steps on {BACKEND}\n")
    print("| model | parameters | memory | ms | ms of the program | ms of the system | page faults | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    # The text models are compiled by XLA as it is.
    ways = (*WAYS, WITH_XLA) if options.models == "series" and BACKEND == "tensorflow" else WAYS
    for name in (name for name in (TEXT if options.models == "text" else SERIES) if options.only in name):
        for way in options.turns * ways:
            print(subprocess.check_output([sys.executable, __file__, name, way], text=True), end="", flush=True)


if __name__ == "__main__":
    main()
