"""The first call of `generate` in a new process: seconds for 1, 100, 512 and 4,096 tokens, beside transformers.

    KERAS_BACKEND=torch python benchmarks/first_tokens.py

The model is that of model.py, with a prompt of 8 tokens, greedy, in float32; `SIZE=griffin_100m` chooses the larger
one, without the last column. Whatever compiles, traces or records is included; importing and building the model is not,
but is given once. Each number is a process of its own, the least of three, in which JAX has no compiled programs from
before; "kept" has those of an earlier process, as the command line has. transformers, if installed, decodes with its
own `generate` on PyTorch, whatever the backend.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time

NUMBERS = 1, 100, 512, 4096
RUNS = 3
PROMPT = 8


def ours(steps):
    """(seconds until there is a model, seconds of the call)."""
    start = time.perf_counter()
    import numpy as np
    from model import CONFIG

    from keras_griffin import backends
    from keras_griffin.models import Griffin

    if folder := os.environ.get("PROGRAMS"):
        backends.active().keep_programs(folder)
    model = Griffin(CONFIG)
    ready = time.perf_counter()
    tokens = model.generate(np.ones((1, PROMPT), "int32"), steps, sampler="greedy")
    assert len(tokens[0]) == PROMPT + steps
    return ready - start, time.perf_counter() - ready


def transformers(steps):
    """The same with transformers."""
    start = time.perf_counter()
    import torch
    from model import transformers_model

    model = transformers_model()
    # No token ends a text, as in ours.
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0
    ready = time.perf_counter()
    tokens = model.generate(torch.ones((1, PROMPT), dtype=torch.long), do_sample=False, max_new_tokens=steps)
    assert tokens.shape[1] == PROMPT + steps
    return ready - start, time.perf_counter() - ready


WAYS = {"ours": ours, "transformers": transformers}


def seconds(way, steps, runs=RUNS, **environment):
    """The least of some processes' (preparation, call)."""
    command = [sys.executable, __file__, way, str(steps)]
    found = []
    for _ in range(runs):
        run = subprocess.run(
            command, env={**os.environ, **environment}, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        found.append([float(number) for number in run.stdout.split()[-2:]])
    return [min(numbers) for numbers in zip(*found, strict=True)]


def main():
    """Print the table of the active backend."""
    from model import SIZE
    from timing import BACKEND

    numbers = NUMBERS if SIZE == "small" else NUMBERS[:-1]
    print(f"\n### First tokens on {BACKEND}\n")
    print(f"| seconds of the first call | imports and model | {' | '.join(f'{n:,} tokens' for n in numbers)} |")
    print(f"|{'---|' * (2 + len(numbers))}")
    times = {}
    ways = {"ours": {}}
    with tempfile.TemporaryDirectory() as folder:
        if BACKEND == "jax":
            ways["ours, kept programs"] = {"PROGRAMS": folder}
            for steps in numbers:
                seconds("ours", steps, runs=1, PROGRAMS=folder)
        if importlib.util.find_spec("transformers") is None:
            print("| transformers | not installed: not measured | |")
        else:
            # TensorFlow, if it is imported first, and Triton, which PyTorch may import, end each other's process.
            ways["transformers"] = {"KERAS_BACKEND": "torch"}
        for name, environment in ways.items():
            measured = [seconds(name.partition(",")[0], steps, **environment) for steps in numbers]
            times[name] = [call for _, call in measured]
            prepared = min(prepared for prepared, _ in measured)
            print(f"| {name} | {prepared:.2f} | {' | '.join(f'{call:.2f}' for call in times[name])} |", flush=True)
    if "transformers" in times:
        ratios = [theirs / own for theirs, own in zip(times["transformers"], times["ours"], strict=True)]
        print(f"| transformers / ours | | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(*WAYS[sys.argv[1]](int(sys.argv[2])))
    else:
        main()
