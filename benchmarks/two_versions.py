"""This checkout beside another one: the same calls in turns, and the ratio of their times.

    KERAS_BACKEND=jax python benchmarks/two_versions.py FOLDER [--pairs N]

FOLDER is another checkout of this repository, such as `git worktree add FOLDER COMMIT` makes. Each is measured in
processes of its own, in turns, so that a machine that becomes slower does so for both. The ratio is that of the least
times of all processes; below 1 this checkout is the faster one. A reset stands at every 200th step.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHAPES = {"S2": (8, 512, 768), "S4": (4, 1024, 512)}


def measured() -> dict[str, float]:
    """The least seconds of each call, by its name, for the package that is imported."""
    import keras
    import numpy as np
    from model import CONFIG, TOKENS
    from timing import BACKEND, compiled, forward_and_backward, least_seconds

    from keras_griffin.models import Griffin
    from keras_griffin.ops import linear_scan, rg_lru

    generator = np.random.default_rng(0)
    seconds = {}
    for name, shape in SHAPES.items():
        decay, inputs, gradient, *logits = (
            keras.ops.convert_to_tensor(x.astype("float32"))
            for x in (generator.uniform(0.9, 0.999, shape), *generator.normal(size=(4, *shape)))
        )
        parameter = keras.ops.convert_to_tensor(generator.normal(3.0, 0.5, shape[2]).astype("float32"))
        resets = np.broadcast_to(np.arange(shape[1]) % 200 == 0, shape[:2])
        for marks, reset in {"": None, ", resets": keras.ops.convert_to_tensor(resets.copy())}.items():

            def scan(decay, inputs, reset=reset):
                return linear_scan(decay, inputs, reset=reset)[0]

            def gated(inputs, *logits, reset=reset, parameter=parameter):
                return rg_lru(inputs, *logits, parameter, reset=reset)[0]

            for op, function, arguments in (
                ("linear_scan", scan, (decay, inputs)),
                ("rg_lru", gated, (inputs, *logits)),
            ):
                at = f"{op} {name} {shape}{marks}"
                seconds[f"{at}, forward"] = least_seconds(compiled(function), *arguments, budget=1.5)
                both = compiled(forward_and_backward(function))
                seconds[f"{at}, forward and backward"] = least_seconds(both, gradient, *arguments, budget=1.5)

    tokens, targets = TOKENS[:, :-1], TOKENS[:, 1:]
    model = Griffin(CONFIG)
    optimizer = keras.optimizers.SGD(1e-3)
    model.compile(optimizer, model.loss, jit_compile=BACKEND != "torch")
    seconds["training step"] = least_seconds(model.train_on_batch, tokens, targets, budget=6)
    packed = model.packed()
    packed.compile(keras.optimizers.SGD(1e-3), packed.loss, jit_compile=BACKEND != "torch")
    rows = {"token_ids": tokens, "segment_ids": np.broadcast_to(np.arange(512) // 200 + 1, tokens.shape).copy()}
    seconds["training step, packed"] = least_seconds(packed.train_on_batch, rows, targets, budget=6)
    few, many = (least_seconds(model.generate, tokens[:1, :8], steps, budget=2) for steps in (16, 144))
    seconds["decoded token"] = (many - few) / 128
    return seconds


def measure(folder: Path) -> dict[str, float]:
    """What `measured` says of a checkout, in a process of its own."""
    settings = {"PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parent}"}
    command = [sys.executable, __file__, "--child"]
    # From another folder: the script's own is the first that Python looks in, but holds no package.
    return json.loads(subprocess.check_output(command, env={**os.environ, **settings}, text=True).splitlines()[-1])


def main():
    """Print the table of the active backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="the other checkout")
    parser.add_argument("--pairs", type=int, default=3, metavar="N", help="processes of each (default: %(default)s)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured()))
        return
    if options.folder is None or not (options.folder / "keras_griffin").is_dir():
        parser.error(f"FOLDER must be another checkout. Got {options.folder}.")
    pairs = [(measure(ROOT), measure(options.folder.resolve())) for _ in range(options.pairs)]
    print(f"\n### {os.environ.get('KERAS_BACKEND', 'Keras default')}, {options.pairs} processes of each, in turns\n")
    print("| call | this, ms | the other, ms | ratio | ratios of the pairs |\n|---|---|---|---|---|")
    for call in pairs[0][0]:
        this, other = (min(pair[index][call] for pair in pairs) for index in (0, 1))
        each = ", ".join(f"{ours[call] / theirs[call]:.2f}" for ours, theirs in pairs)
        print(f"| {call} | {1e3 * this:.2f} | {1e3 * other:.2f} | {this / other:.3f} | {each} |")


if __name__ == "__main__":
    main()
