"""Compare this checkout with another one: the same calls, alternating, and the ratio of their times.

    KERAS_BACKEND=jax python benchmarks/two_versions.py FOLDER [--processes N] [--pairs N] [--only PATTERN]

FOLDER is another checkout of this repository, such as one created by `git worktree add FOLDER COMMIT`. A renamed copy
of its package is imported together with this one, and both make each call, one after the other in random order, so
that anything that slows down the machine slows both. The ratio is the median over all pairs of calls; below 1 this
checkout is faster. Memory layout differs between processes, so there are several, and the ratio of each is shown. Calls
whose program is the same in both, such as those without resets on JAX if only resets have changed, show how far a ratio
can be from 1 by chance. There is a reset at every 200th step.
"""

import argparse
import importlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHAPES = {"S2": (8, 512, 768), "S4": (4, 1024, 512)}
OTHER = "keras_griffin_other"


def calls(package: str) -> dict[str, tuple]:
    """The measured calls of a package by name: a function and its arguments."""
    import keras
    import numpy as np
    from model import CONFIG, TOKENS
    from timing import BACKEND, compiled, forward_and_backward

    models, ops = (importlib.import_module(f"{package}.{part}") for part in ("models", "ops"))
    generator = np.random.default_rng(0)
    made = {}
    for name, shape in SHAPES.items():
        decay, inputs, gradient, *logits = (
            keras.ops.convert_to_tensor(x.astype("float32"))
            for x in (generator.uniform(0.9, 0.999, shape), *generator.normal(size=(4, *shape)))
        )
        parameter = keras.ops.convert_to_tensor(generator.normal(3.0, 0.5, shape[2]).astype("float32"))
        resets = np.broadcast_to(np.arange(shape[1]) % 200 == 0, shape[:2])
        for marks, reset in {"": None, ", resets": keras.ops.convert_to_tensor(resets.copy())}.items():

            def scan(decay, inputs, reset=reset):
                return ops.linear_scan(decay, inputs, reset=reset)[0]

            def gated(inputs, *logits, reset=reset, parameter=parameter):
                return ops.rg_lru(inputs, *logits, parameter, reset=reset)[0]

            for op, function, arguments in (
                ("linear_scan", scan, (decay, inputs)),
                ("rg_lru", gated, (inputs, *logits)),
            ):
                at = f"{op} {name} {shape}{marks}"
                made[f"{at}, forward"] = compiled(function), *arguments
                made[f"{at}, forward and backward"] = compiled(forward_and_backward(function)), gradient, *arguments

    tokens, targets = TOKENS[:, :-1], TOKENS[:, 1:]
    model = models.Griffin(models.GriffinConfig(**CONFIG.to_dict()))
    packed = model.packed()
    for trained in (model, packed):
        trained.compile(keras.optimizers.SGD(1e-3), trained.loss, jit_compile=BACKEND != "torch")
    made["training step"] = model.train_on_batch, tokens, targets
    rows = {"token_ids": tokens, "segment_ids": np.broadcast_to(np.arange(512) // 200 + 1, tokens.shape).copy()}
    made["training step, packed"] = packed.train_on_batch, rows, targets
    made["64 decoded tokens"] = model.generate, tokens[:1, :8], 64
    return made


def ratios(folder: Path, pairs: int, only: str) -> dict[str, tuple[float, float]]:
    """The median ratio of each call's times, and this checkout's median seconds, in this process."""
    import numpy as np
    from timing import wait

    with tempfile.TemporaryDirectory() as packages:
        copied = Path(packages) / OTHER
        shutil.copytree(folder / "keras_griffin", copied, ignore=shutil.ignore_patterns("__pycache__"))
        for source in copied.rglob("*.py"):
            source.write_text(source.read_text().replace("keras_griffin", OTHER))
        sys.path.insert(0, packages)
        both = [calls(package) for package in ("keras_griffin", OTHER)]
        result = {}
        for name in filter(re.compile(only).search, both[0]):
            for function, *arguments in (each[name] for each in both):
                for _ in range(3):
                    wait(function(*arguments))
            seconds = []
            for _ in range(pairs):
                pair = [0.0, 0.0]
                for index in random.sample((0, 1), 2):
                    function, *arguments = both[index][name]
                    start = time.perf_counter()
                    wait(function(*arguments))
                    pair[index] = time.perf_counter() - start
                seconds.append(pair)
            ours, theirs = np.array(seconds).T
            result[name] = float(np.median(ours / theirs)), float(np.median(ours))
    return result


def main():
    """Print the table of the active backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the other checkout")
    parser.add_argument("--processes", type=int, default=3, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=40, metavar="N", help="of each call (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="PATTERN", help="a regular expression to select calls by name")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.folder / "keras_griffin").is_dir():
        parser.error(f"FOLDER must be another checkout. Got {options.folder}.")
    if options.child:
        print(json.dumps(ratios(options.folder, options.pairs, options.only)))
        return
    measure = ["--child", "--pairs", str(options.pairs), "--only", options.only]
    command = [sys.executable, __file__, str(options.folder.resolve()), *measure]
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    answers = [
        json.loads(subprocess.check_output(command, env=settings, text=True).splitlines()[-1])
        for _ in range(options.processes)
    ]
    backend = os.environ.get("KERAS_BACKEND", "Keras's default")
    print(f"\n### {backend}: {options.processes} processes, {options.pairs} pairs of each call\n")
    print("| call | this, ms | ratio | of each process |\n|---|---|---|---|")
    for call in answers[0]:
        of_each = sorted(answer[call][0] for answer in answers)
        middle = (of_each[(len(of_each) - 1) // 2] + of_each[len(of_each) // 2]) / 2
        milliseconds = 1e3 * min(answer[call][1] for answer in answers)
        each = ", ".join(f"{ratio:.2f}" for ratio in of_each)
        print(f"| {call} | {milliseconds:.2f} | {middle:.3f} | {each} |", flush=True)


if __name__ == "__main__":
    main()
