"""Carry out the runs of an experiment: each once, in one of the processes that share them."""

import contextlib
import functools
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

import keras

from experiments.harness.run import Run
from experiments.harness.table import Row, Table
from experiments.harness.training import Measurement, constant_rate, train
from experiments.harness.words import rate
from experiments.models.families import family_model
from keras_griffin.files import atomic_file
from keras_griffin.files.folder_lock import folder_lock
from keras_griffin.training import FolderInUse

FOLDER = Path(__file__).resolve().parent.parent
#: In the paper's order, then those beyond it.
NAMES = (
    "scaling_law",
    "sampling",
    "novels",
    "selective_copying",
    "induction_heads",
    "phonebook",
    "gates",
    "complex_recurrence",
    "windows",
    "long_context",
    "associative_recall",
    "pixels",
    "forecasting",
    "resets",
    "list_operations",
    "english",
)
#: Seconds after which a process without a run looks again for one.
PATIENCE = 1.0


def experiment(name: str) -> ModuleType:
    """The module of an experiment.

    It has `TITLE`, `PAPER` (what the paper found), `DIFFERS` (what differs here), `SIZES` by scale, `CLAIMS` (none if
    it only reports), and these functions:

        plan(scale, seeds, table)       the runs that are known once those in the table have finished
        make_batch(run, rows, seed)     a `TaskBatch`
        test(run, model)                a setting, a metric and a value for each test of a trained model
        columns(table, trial)           what the report says of a run
        draw(table)                     a figure

    It may also have

        make_model(run)                 if the models are not those of the three families
        optimizer(run, model)           if it is not that of the synthetic tasks
        is_kept(table, trial), RATES    if the learning rates were not searched in the first setting: the choice, and
                                        in words how it was made
        measure(run, folder)            in place of `make_batch` and `test`, if not every run trains a language model:
                                        all measurements, of which the first is `parameters` and the last `seconds`
        SETTING                         what a setting is, if it is not what a model is trained on
        refusal(scale)                  why it can't be carried out on this machine; empty if it can
    """
    return import_module(f"experiments.{name}")


def carry_out(
    module: ModuleType, scale: str, seeds: Sequence[int], folder: Path, reported: Table | None = None
) -> Table:
    """Carry out every run of an experiment, beside other processes that do the same, and return the results.

    Args:
        module: the experiment.
        scale: a key of its `SIZES`.
        seeds: of the runs.
        folder: of all runs.
        reported: the results of an earlier report; its runs are not repeated.
    """
    while True:
        table, waiting = finished(module, scale, seeds, folder, reported)
        if not waiting:
            return table
        # A finished run may change the plan, so it is read again.
        if not any(carried_out(module, run, folder) for run in waiting):
            time.sleep(PATIENCE)


def finished(
    module: ModuleType, scale: str, seeds: Sequence[int], folder: Path, reported: Table | None = None
) -> tuple[Table, list[Run]]:
    """The results of finished runs in the order of the plan, and the runs of the plan that have not finished.

    Args:
        module: as for `carry_out`, like the other arguments.
    """
    known = (reported or Table()).rows_by_run()
    table = Table()
    while True:
        runs = module.plan(scale, seeds, table)
        done = [run for run in runs if (folder / run.identity / "result.json").exists() or run.identity in known]
        found = Table(row for run in done for row in known.get(run.identity) or _rows(folder / run.identity))
        if len(found.rows) == len(table.rows):
            return table, [run for run in runs if run not in done]
        table = found


def carried_out(module: ModuleType, run: Run, folder: Path) -> bool:
    """Carry out a run unless another process has it; whether it was carried out."""
    own = folder / run.identity
    own.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(folder_lock(own / "lock"))
        except FolderInUse:
            return False
        if (own / "result.json").exists():
            return True
        words = (run.family, run.setting, rate(run.learning_rate), f"seed {run.seed}")
        print(f"{run.experiment} {run.identity}: {', '.join(filter(None, words))}", flush=True)
        measure = getattr(module, "measure", functools.partial(trained, module))
        measured = measure(run, own / "course")
        with atomic_file(own / "result.json") as aside:
            rows = [list(row) for row in rows_of(run, measured, circumstances())]
            aside.write_text(json.dumps({"run": run.describe(), "rows": rows}, indent=1))
        return True


def trained(module: ModuleType, run: Run, folder: Path) -> list[Measurement]:
    """The measurements of a run, from training a language model as the experiment says."""
    optimizer = getattr(module, "optimizer", constant_rate)
    make_model = getattr(module, "make_model", family_model)
    return train(run, folder, module.make_batch, module.test, optimizer, make_model)


def rows_of(run: Run, measured: Iterable[Measurement], facts: dict[str, str]) -> list[Row]:
    """The table's rows of a run."""
    own = run.identity, run.family, str(run.seed), rate(run.learning_rate)
    rows = [Row(*own, setting, str(step), metric, f"{value:.6g}") for setting, step, metric, value in measured]
    # After the first row: its metric marks the run.
    return [*rows, *(Row(*own, run.setting, rows[-1].step, fact, text) for fact, text in facts.items())]


def circumstances() -> dict[str, str]:
    """Where a run was carried out, and with what."""
    packages = ("keras", keras.backend.backend(), "numpy")
    versions = [f"Python {platform.python_version()}", *(f"{name} {metadata.version(name)}" for name in packages)]
    return {"machine": _machine(), "versions": ", ".join(versions), "commit": _commit()}


def _rows(folder):
    return json.loads((folder / "result.json").read_text())["rows"]


def _machine():
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{' '.join(sorted(names)) or platform.machine()}, {cores} of {os.cpu_count()} cores"


def _commit():
    """The commit of the code, and whether that has changed since."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        changed = _git("status", "--porcelain", "--", "keras_griffin", "experiments/*.py")
        return f"{_git('rev-parse', '--short', 'HEAD')}{' with changes' if changed else ''}"
    return "unknown"


def _git(*arguments):
    command = ["git", *arguments]
    return subprocess.check_output(command, cwd=FOLDER.parent, text=True, stderr=subprocess.DEVNULL).strip()
