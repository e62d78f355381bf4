"""Kill a training run twenty times, and compare its result with that of an uninterrupted run.

    python benchmarks/kill_and_resume.py [--backends jax,torch,tensorflow] [--kills 20] [--seed 0]

One run is killed repeatedly with `kill -9`, the whole process group, at moments drawn from the seed: in a step, in a
validation, and while a file is being saved (when its temporary folder appears). Each time a new process resumes the
run. The table is written to benchmarks/results/kill_and_resume.md.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
EPOCHS, NUM_BATCHES, SAVE_EVERY = 8, 50, 10
#: The kinds of kills, in rotation; a process to be killed in a validation must live until an epoch ends.
KINDS = ("step", "save", "step", "save", "validation")
#: The minimum duration of a step, so that a kill can be timed.
STEP_SECONDS = 0.02


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="jax,torch,tensorflow", help="separated by commas")
    parser.add_argument("--kills", type=int, default=20, help="for each backend")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--train", metavar="FOLDER", help="run as the training process, which is killed")
    options = parser.parse_args()
    if options.train:
        train(Path(options.train))
        return
    command = f"python benchmarks/kill_and_resume.py --kills {options.kills} --seed {options.seed}"
    report = [
        f"# Killed and resumed\n\n`{command}`: a run of {EPOCHS} epochs of {NUM_BATCHES} steps, saved every "
        f"{SAVE_EVERY}, with accumulated gradients, dropout, a schedule and a validation after each epoch.\n"
    ]
    for backend in options.backends.split(","):
        report.append(attack(backend, options.kills, random.Random(options.seed)))
        (FOLDER / "results" / "kill_and_resume.md").write_text("\n".join(report))
        print(report[-1], flush=True)


def train(folder):
    """Start or resume the run in a folder, and write its result."""
    import keras
    import numpy as np

    from keras_griffin.models import Hawk
    from keras_griffin.models.config import GriffinConfig
    from keras_griffin.training import AdamW, HeldOutWindows, RandomWindows, ResumableRun, warm_up_then_cosine

    random.seed(0)
    text = np.random.default_rng(0).integers(97, 105, size=5000).astype("uint8")
    griffin = Hawk(GriffinConfig(vocabulary_size=128, width=16, num_layers=1, num_heads=2, window=4))
    # A dropout on the logits, so that the run has random state.
    model = keras.Model(griffin.input, keras.layers.Dropout(0.1, seed=1)(griffin.output))
    optimizer = AdamW(warm_up_then_cosine(1e-2, EPOCHS * NUM_BATCHES), gradient_accumulation_steps=4)
    model.compile(optimizer, griffin.loss, weighted_metrics=["sparse_categorical_accuracy"])
    run = ResumableRun(folder / "run", save_every=SAVE_EVERY)
    progress = keras.callbacks.Callback()
    reached = [run.step]
    tell(folder, "resumed", str(run.step))

    def on_step(batch, logs=None):
        reached[0] += 1
        tell(folder, "progress", f"step {reached[0]}")
        time.sleep(STEP_SECONDS)

    progress.on_train_batch_end = on_step
    progress.on_test_batch_end = lambda batch, logs=None: (
        tell(folder, "progress", f"validation {reached[0]}"),
        time.sleep(STEP_SECONDS),
    )
    data = RandomWindows(text, 16, 4, num_batches=NUM_BATCHES)
    history = run.fit(
        model,
        data,
        EPOCHS,
        validation_data=HeldOutWindows(text[:400], 16, 4),
        callbacks=[progress, keras.callbacks.CSVLogger(folder / "log.csv")],
        verbose=0,
    )
    digest = hashlib.sha256()
    for variable in [*model.variables, *model.optimizer.variables]:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable.value)).tobytes())
    log = (folder / "log.csv").read_text()
    (folder / "end.json").write_text(
        json.dumps({"history": history.history, "variables": digest.hexdigest(), "log": log})
    )


def tell(folder, name, text):
    """Write the run's position to a file, atomically."""
    (folder / "aside").write_text(text)
    os.replace(folder / "aside", folder / name)


def attack(backend, kills, chance):
    """Kill a run repeatedly, and compare it with an uninterrupted one."""
    with tempfile.TemporaryDirectory() as folder:
        calm, killed = Path(folder, "calm"), Path(folder, "killed")
        calm.mkdir()
        killed.mkdir()
        with start(backend, calm) as process:
            if process.wait():
                raise SystemExit(f"kill_and_resume: the undisturbed run must succeed on {backend}.")
        kinds, reached, parts, resumed = [], [], [], []
        for number in range(kills):
            kinds.append(KINDS[number % len(KINDS)])
            steps = chance.randint(1, 2 * SAVE_EVERY)
            reached.append(kill(backend, killed, kinds[-1], steps, chance.uniform(0, 2 * STEP_SECONDS)))
            parts.append("yes" if any((killed / "run").glob(".*partial*")) else "no")
            resumed.append(went_on_from(killed))
            print(backend, number + 1, "from", resumed[-1], "killed in a", kinds[-1], "at", reached[-1], flush=True)
        with start(backend, killed) as process:
            if process.wait():
                raise SystemExit(f"kill_and_resume: the last process must succeed on {backend}.")
        # The process after a kill reports where the run resumed.
        resumed = [*resumed[1:], went_on_from(killed)]
        rows = [
            (number + 1, kind, step, is_in_file, from_step, step - from_step)
            for number, (kind, step, is_in_file, from_step) in enumerate(
                zip(kinds, reached, parts, resumed, strict=True)
            )
        ]
        ends = [json.loads((side / "end.json").read_text()) for side in (calm, killed)]
        left = [path.name for path in (killed / "run").iterdir() if "partial" in path.name]
    return report(backend, rows, *ends, left)


def start(backend, folder):
    """Start a training process in its own process group."""
    settings = {"PYTHONPATH": str(FOLDER.parent), "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    for name in ("progress", "resumed"):
        (folder / name).unlink(missing_ok=True)
    command = [sys.executable, __file__, "--train", str(folder)]
    with (folder / "errors").open("ab") as errors:
        return subprocess.Popen(command, env={**os.environ, **settings}, stderr=errors, start_new_session=True)


def kill(backend, folder, kind, steps, delay):
    """Let the run do `steps` steps, kill it at the next moment of a kind, and return the step that it had reached."""
    with start(backend, folder) as process:
        try:
            wait_for(process, (folder / "resumed").exists)
            step = went_on_from(folder) + steps
            wait_for(process, lambda: progress(folder)[1] >= step)
            if kind == "save":
                wait_for(process, lambda: any("partial" in name for name in os.listdir(folder / "run")))
            else:
                wait_for(process, lambda: progress(folder)[0] == kind)
                time.sleep(delay)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return progress(folder)[1]


def wait_for(process, is_there):
    """Poll a condition without pausing: a save takes only milliseconds."""
    while not is_there():
        if process.poll() is not None:
            raise SystemExit("kill_and_resume: a run must not end before it is killed; ask for fewer kills.")


def progress(folder):
    """The run's activity, and its number of steps."""
    try:
        kind, step = (folder / "progress").read_text().split()
    except FileNotFoundError:
        return "start", -1
    return kind, int(step)


def went_on_from(folder):
    """The step of the file from which the latest process resumed, as its run reports."""
    return int((folder / "resumed").read_text())


def report(backend, rows, calm, killed, left):
    """The table and the conclusions."""
    is_same = {name: calm[name] == killed[name] for name in calm}
    pairs = [
        pair for name in calm["history"] for pair in zip(calm["history"][name], killed["history"][name], strict=True)
    ]
    furthest = max(abs(one - other) / max(abs(one), 1e-12) for one, other in pairs)
    lost = max(row[-1] for row in rows)
    in_saves = sum(row[3] == "yes" for row in rows)
    lines = [
        f"## {backend}\n",
        "| kill | in a | at step | in the middle of a file | went on from step | steps lost |",
        "|---|---|---|---|---|---|",
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
        "",
        f"- final loss {killed['history']['loss'][-1]!r}, undisturbed {calm['history']['loss'][-1]!r}",
        f"- losses and metrics of all epochs, in training and validation: {verdict(is_same['history'])}, the greatest "
        f"relative difference {furthest:.1e}",
        f"- weights, optimizer, states of random numbers: {verdict(is_same['variables'])}",
        f"- log.csv: {verdict(is_same['log'])}",
        f"- most steps lost: {lost}, saved every {SAVE_EVERY}; kills in the middle of a file: {in_saves}; parts of "
        f"files left at the end: {len(left)}",
        "",
    ]
    return "\n".join(lines)


def verdict(is_same):
    """The result in words."""
    return "the same to the last bit" if is_same else "NOT the same"


if __name__ == "__main__":
    main()
