"""Create, save, load and decode a preset of some two billion random bfloat16 weights; time and memory of each.

    KERAS_BACKEND=jax python benchmarks/two_billion.py FOLDER

The presets are RecurrentGemma 2B and Mamba 2.8B. It needs 6 GB of disk in FOLDER and up to 14 GB of memory. Creating
and loading run in separate processes, so that each has its own peak.
"""

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from timing import BACKEND

TOKENS = 8
STEPS = ("made and saved", "loaded and decoded")
PRESETS = ("recurrentgemma_2b", "mamba_2.8b")


def make(folder, preset):
    """Create a model with random weights and save it."""
    from keras_griffin.models import LanguageModel

    start = time.perf_counter()
    model = LanguageModel.from_preset(preset, dtype="bfloat16")
    made = time.perf_counter()
    model.save_to_preset(folder)
    saved = time.perf_counter()
    return f"{model.count_params():,} parameters; made in {made - start:.0f} s, saved in {saved - made:.0f} s"


def load(folder, preset):
    """Load the model and generate tokens."""
    from keras_griffin.models import LanguageModel

    start = time.perf_counter()
    model = LanguageModel.from_preset(folder)
    loaded = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tokens = model.generate([[2, 651, 2134]], TOKENS)
    first = time.perf_counter()
    model.generate([[2, 651, 2134]], TOKENS)
    seconds = (time.perf_counter() - first) / TOKENS
    return (
        f"loaded in {loaded - start:.0f} s with a peak of {peak:.1f} GiB; {len(tokens[0]) - 3} tokens, "
        f"{first - loaded:.0f} s the first time and {seconds:.2f} s a token the second"
    )


def main(folder):
    """Print the tables of the active backend."""
    for preset in PRESETS:
        table(Path(folder) / f"{preset}_{BACKEND}", preset)


def table(folder, preset):
    """Print the table of a preset."""
    print(f"\n### {preset} in bfloat16 on {BACKEND}\n\n| | peak of the process, GiB | |\n|---|---|---|")
    try:
        for step in STEPS:
            command = [sys.executable, __file__, str(folder), preset, step]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            said, peak = run.stdout.splitlines()[-2:]
            print(f"| {step} | {peak} | {said} |", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print((make if sys.argv[3] == STEPS[0] else load)(*sys.argv[1:3]))
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f}")
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        raise SystemExit("two_billion: the only argument must be a folder.")
