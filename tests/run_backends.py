"""Run the test suite once for each backend, each in its own process, and end in one table.

    python tests/run_backends.py [--backends jax,numpy] [arguments of pytest]

The processes share the cores: one core each where there are fewer cores than backends. On the numpy backend the
tests marked `trainable` are left out. Keras's own settings file is not read.
"""

import argparse
import os
import queue
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

# The longest first, so that the last process to run alone is a short one.
BACKENDS = ("jax", "tensorflow", "torch", "numpy")


@dataclass(frozen=True)
class Result:
    """How one backend's run ended."""

    backend: str
    passed: int
    failed: int
    skipped: int
    seconds: float


def main():
    """Run what the command line asks for; the exit status is 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS), help="separated by commas; %(default)s unless given")
    options, arguments = parser.parse_known_args()
    backends = options.backends.split(",")
    shares = shares_of_cores(len(backends))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(shares.qsize()) as pool:
        results = list(pool.map(lambda backend: run(backend, arguments, Path(folder), shares), backends))
    print(table(results))
    sys.exit(any(result.failed for result in results))


def shares_of_cores(processes):
    """A queue of disjoint sets of cores, as equal as can be, at most one for each process."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
    count = min(processes, len(cores))
    shares = queue.SimpleQueue()
    for first in range(count):
        shares.put(cores[first::count])
    return shares


def run(backend, arguments, folder, shares):
    """Run pytest on one backend in a process of its own, on one share of the cores, and count what it reports."""
    report = folder / f"{backend}.xml"
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
    settings = {"KERAS_BACKEND": backend, "KERAS_HOME": str(folder), "MPLBACKEND": "Agg", "TF_CPP_MIN_LOG_LEVEL": "2"}
    cores = shares.get()
    if hasattr(os, "sched_setaffinity"):
        # A process inherits the cores of the thread that starts it.
        os.sched_setaffinity(0, cores)
    start = time.perf_counter()
    with subprocess.Popen(
        command, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            print(f"{backend:>10} | {line}", end="", flush=True)
    seconds = time.perf_counter() - start
    shares.put(cores)
    if not report.exists():
        print(f"{backend:>10} | pytest ended with status {process.returncode} and no report: counted as one failure.")
        return Result(backend, 0, 1, 0, seconds)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    total, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    broken = int(suite.get("failures")) + int(suite.get("errors"))
    # pytest also fails without a failed test: when it finds no test, for one.
    failed = max(broken, int(process.returncode != 0))
    return Result(backend, max(total - broken - skipped, 0), failed, skipped, seconds)


def table(results):
    """One row for each backend, and a closing line with the sums."""
    rows = [f"{'backend':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}"]
    rows += [f"{r.backend:<12}{r.passed:>8}{r.failed:>8}{r.skipped:>9}{r.seconds:>9.0f}" for r in results]
    passed, failed, skipped = (sum(getattr(r, field) for r in results) for field in ("passed", "failed", "skipped"))
    return "\n".join(["", *rows, "", f"{passed} passed, {failed} failed, {skipped} skipped"])


if __name__ == "__main__":
    main()
