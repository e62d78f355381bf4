"""Create, save, load and decode the RecurrentGemma 2B preset with random bfloat16 weights; time and memory of each.

    KERAS_BACKEND=jax python benchmarks/two_billion.py FOLDER

It needs 6 GB of disk in FOLDER and up to 14 GB of memory. Creating and loading run in separate processes, so that each
has its own peak.
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


def make(folder):
    """Create a model with random weights and save it."""
    from keras_griffin.models import Griffin

    start = time.perf_counter()
    model = Griffin.from_preset("recurrentgemma_2b", dtype="bfloat16")
    made = time.perf_counter()
    model.save_to_preset(folder)
    saved = time.perf_counter()
    return f"{model.count_params():,} parameters; made in {made - start:.0f} s, saved in {saved - made:.0f} s"


def load(folder):
    """Load the model and generate tokens."""
    from keras_griffin.models import Griffin

    start = time.perf_counter()
    model = Griffin.from_preset(folder)
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
    """Print the table of the active backend."""
    print(f"\n### RecurrentGemma 2B in bfloat16 on {BACKEND}\n\n| | peak of the process, GiB | |\n|---|---|---|")
    folder = Path(folder) / f"recurrentgemma_2b_{BACKEND}"
    try:
        for step in STEPS:
            run = subprocess.run(
                [sys.executable, __file__, str(folder), step], check=True, stdout=subprocess.PIPE, text=True
            )
            said, peak = run.stdout.splitlines()[-2:]
            print(f"| {step} | {peak} | {said} |", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print((make if sys.argv[2] == STEPS[0] else load)(sys.argv[1]))
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f}")
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        raise SystemExit("two_billion: the only argument must be a folder.")
