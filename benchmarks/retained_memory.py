"""A training step with and without `retain_memory`: the processor's time for the program and for the system.

    KERAS_BACKEND=jax python benchmarks/retained_memory.py

Each way has its own process, and the two take turns. The small model is a Hawk of six layers of width 64 that reads 16
rows of 256 tokens; the large one is `griffin_100m` with one row of 512 tokens. The time of the system
is that of page faults: nothing else in a step asks it for anything.
"""

import resource
import subprocess
import sys
import time

import numpy as np
from timing import BACKEND

from keras_griffin.models import Griffin, GriffinConfig, Hawk, presets
from keras_griffin.training import AdamW, retain_memory

#: By model: its class and config, rows, tokens of a row, steps.
MODELS = {
    "Hawk, 0.3 M": (Hawk, GriffinConfig(256, 64, 6, num_heads=2, recurrence_width=80), 16, 256, 40),
    "griffin_100m": (Griffin, presets()["griffin_100m"], 1, 512, 4),
}
WAYS = ("as it is", "retained")
TURNS = 2


def measure(name, way):
    """A row of the table: milliseconds and page faults of a step, and the peak memory of the process."""
    if way == "retained" and not retain_memory():
        sys.exit("retain_memory: the C library must be glibc.")
    kind, config, rows, length, steps = MODELS[name]
    tokens = np.random.default_rng(0).integers(0, config.vocabulary_size, (rows, length + 1)).astype("int32")
    model = kind(config)
    model.compile(AdamW(1e-4), model.loss, jit_compile=BACKEND != "torch")
    for _ in range(2):
        model.train_on_batch(tokens[:, :-1], tokens[:, 1:])
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(tokens[:, :-1], tokens[:, 1:])
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    times = [seconds, after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime]
    faults = (after.ru_minflt - before.ru_minflt) / steps
    row = [name, way, *(f"{1e3 * each / steps:,.1f}" for each in times), f"{faults:,.0f}", f"{after.ru_maxrss >> 10:,}"]
    return f"| {' | '.join(row)} |"


def main():
    """Print the table, or in a process of its own one row."""
    if sys.argv[1:]:
        print(measure(*sys.argv[1:]))
        return
    print(f"### Training steps on {BACKEND}\n")
    print("| model | memory | ms | ms of the program | ms of the system | page faults | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for name in MODELS:
        for way in TURNS * WAYS:
            print(subprocess.check_output([sys.executable, __file__, name, way], text=True), end="", flush=True)


if __name__ == "__main__":
    main()
