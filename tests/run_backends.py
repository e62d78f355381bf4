"""Run the test suite once for each backend, each in its own process, and end in one table.

    python tests/run_backends.py [--backends jax,numpy] [arguments of pytest]

The backends run one after the other, each with a worker of pytest-xdist on every core. On the numpy backend the tests
marked `trainable` are left out. Keras's own settings file is not read.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

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
    with tempfile.TemporaryDirectory() as folder:
        results = [run(backend, arguments, Path(folder)) for backend in backends]
    print(table(results))
    sys.exit(any(result.failed for result in results))


def run(backend, arguments, folder):
    """Run pytest on one backend, in processes of its own, and count what it reports."""
    report = folder / f"{backend}.xml"
    # Tests that stand together, and share compiled models, start on one worker; an idle one takes of another's.
    workers = ["-n", str(len(available_cores())), "--dist", "worksteal"]
    command = [sys.executable, "-m", "pytest", "-q", "--durations=20", *workers, f"--junitxml={report}", *arguments]
    settings = {"KERAS_BACKEND": backend, "KERAS_HOME": str(folder), "MPLBACKEND": "Agg", "TF_CPP_MIN_LOG_LEVEL": "2"}
    start = time.perf_counter()
    with subprocess.Popen(
        command, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            print(f"{backend:>10} | {line}", end="", flush=True)
    seconds = time.perf_counter() - start
    if not report.exists():
        print(f"{backend:>10} | pytest ended with status {process.returncode} and no report: counted as one failure.")
        return Result(backend, 0, 1, 0, seconds)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    total, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    broken = int(suite.get("failures")) + int(suite.get("errors"))
    # pytest also fails without a failed test: when it finds no test, for one.
    failed = max(broken, int(process.returncode != 0))
    return Result(backend, max(total - broken - skipped, 0), failed, skipped, seconds)


def available_cores():
    """The cores that this process may use, by number where the system tells."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())


def table(results):
    """One row for each backend, and a closing line with the sums."""
    rows = [f"{'backend':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}"]
    rows += [f"{r.backend:<12}{r.passed:>8}{r.failed:>8}{r.skipped:>9}{r.seconds:>9.0f}" for r in results]
    passed, failed, skipped = (sum(getattr(r, field) for r in results) for field in ("passed", "failed", "skipped"))
    return "\n".join(["", *rows, "", f"{passed} passed, {failed} failed, {skipped} skipped"])


if __name__ == "__main__":
    main()
