"""Run parts, each in a process of its own with its time limit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.accelerator import journal
from benchmarks.accelerator.plan import Part

ROOT = Path(__file__).resolve().parent.parent.parent


def run_part(part: Part, path: Path, quick: bool, patience: float = 1.0) -> None:
    """Run a part to its end, or to its limit times `patience`, and write down how it ended."""
    limit = part.limit * patience
    journal.append(path, part.name, "begin", time=time.strftime("%Y-%m-%d %H:%M"), quick=quick, commit=commit())
    environment = settings(os.environ, path)
    programs = Path(environment["JAX_COMPILATION_CACHE_DIR"])
    if environment["KERAS_BACKEND"] == "jax" and programs.is_dir() and any(programs.iterdir()):
        journal.append(path, part.name, "note", text=f"{programs.name} has programs of before: first calls are short.")
    command = [sys.executable, "-m", "benchmarks.accelerator.part", part.module, part.name, str(path), f"{limit}"]
    start = time.perf_counter()
    # In a group of its own, which also has the processes that the part or a compiler starts.
    process = subprocess.Popen([*command, *["--quick"] * quick], cwd=ROOT, env=environment, start_new_session=True)
    try:
        outcome, reason = ended(process.wait(timeout=limit), path, part)
    except subprocess.TimeoutExpired:
        outcome, reason = "out of time", f"it had not ended after {limit:.0f} s"
    finally:
        kill(process)
    seconds = round(time.perf_counter() - start, 1)
    journal.append(path, part.name, "end", outcome=outcome, reason=reason, seconds=seconds)
    print(f"  {part.name}: {outcome} {reason} ({seconds} s)", flush=True)


def ended(status: int, path: Path, part: Part) -> tuple[str, str]:
    """The outcome of a part whose process has ended, and the reason for a failure."""
    if status == 0:
        return "done", ""
    errors = [result["text"] for result in journal.read(path)[part.name].results if result["event"] == "error"]
    return "failed", errors[-1] if errors else f"its process ended with status {status}"


def kill(process: subprocess.Popen) -> None:
    """End a process and all of its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def settings(environment, path: Path) -> dict[str, str]:
    """The environment of a part: it imports this package, and the other benchmarks as they import one another.

    JAX keeps its programs beside the file of results, so that a part that ran out of time does not compile them again.
    """
    folders = [str(ROOT), str(ROOT / "benchmarks"), environment.get("PYTHONPATH", "")]
    return {
        "KERAS_BACKEND": "torch",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "JAX_COMPILATION_CACHE_DIR": str(path.resolve().with_suffix(".programs")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **environment,
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
    }


def commit() -> str:
    """The commit of the working tree, with a mark if files have changed; empty without Git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""
