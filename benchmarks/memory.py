"""Memory of decoding after 1 to 100,000 tokens: flat for Griffin, growing for the MQA baseline.

    KERAS_BACKEND=jax python benchmarks/memory.py

Both models have width 128, three layers, two heads of 64 and a vocabulary of 256; Griffin's window is 128. Each point
is a separate process, with its overall peak. Griffin generates every token. The baseline, in which every token attends
to all before it, reads them as a prompt and generates the last 16.
"""

import json
import resource
import subprocess
import sys

from timing import BACKEND

LENGTHS = (1, 10, 100, 1_000, 10_000, 100_000)
LAST = 16


def measure(family, length):
    """The bytes of the state, and the peak of this process, after `length` tokens."""
    import keras
    import numpy as np

    from keras_griffin.models import Griffin, GriffinConfig, MQATransformer

    config = GriffinConfig(vocabulary_size=256, width=128, num_layers=3, num_heads=2, window=128)
    model = {"Griffin": Griffin, "MQA": MQATransformer}[family](config)
    made = max(1, length - 1) if family == "Griffin" else LAST
    read = max(1, length - made)
    prompt = np.random.default_rng(0).integers(0, 256, (1, read))
    _, state = model.generate(prompt, made, return_state=True)
    seen = int(keras.ops.convert_to_numpy(state.tokens)[0])
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"tokens": seen, "state": state.num_bytes, "peak": peak}


def in_own_process(family, length):
    """`measure` in a separate process."""
    run = subprocess.run([sys.executable, __file__, family, str(length)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout.splitlines()[-1])


def main():
    """Print the table of the active backend."""
    print(f"\n### Memory of decoding on {BACKEND}\n")
    print("| model | tokens | state, bytes | peak of the process, MiB |\n|---|---|---|---|")
    for family in ("Griffin", "MQA"):
        for length in LENGTHS:
            point = in_own_process(family, length)
            print(f"| {family} | {point['tokens']:,} | {point['state']:,} | {point['peak'] / 2**20:,.0f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
