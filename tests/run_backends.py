"""Run the test suite once for each backend, each in processes of its own, and end in one table.

    python tests/run_backends.py [--backends jax,numpy] [--quick] [arguments of pytest]

The tests of a backend are divided into parts, and each core takes one part after the other. With arguments of pytest,
which choose a few tests, the backends run one after the other, each with a worker of pytest-xdist on every core. On the
numpy backend the tests marked `trainable` are left out; those marked `any_backend` run on the last backend alone, or on
the last that has gradients where they need them. With --quick one backend, PyTorch unless another is named, runs all
but those marked `slow`. Keras's own settings file is not read.
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

BACKENDS = ("jax", "tensorflow", "torch", "numpy")
WITH_GRADIENTS = ("jax", "tensorflow", "torch")
QUICK_BACKEND = "torch"
#: Parts of each backend's tests, each in a process that ends with it: TensorFlow, above all, keeps what it compiled.
#: JAX lets go of that, above some size after each file, and compiles again what the next one needs too.
PARTS = {"jax": 6, "tensorflow": 9, "torch": 3, "numpy": 2}
#: How many of the slowest tests are printed at the end.
SLOWEST = 20


@dataclass(frozen=True)
class Result:
    """How one backend's run ended, or a part of it."""

    backend: str
    passed: int
    failed: int
    skipped: int
    #: Of all parts together.
    seconds: float
    #: Seconds and name of each test.
    tests: tuple[tuple[float, str], ...] = ()
    #: The names of those that failed.
    broken: tuple[str, ...] = ()


def main():
    """Run what the command line asks for; the exit status is 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", help=f"separated by commas; {','.join(BACKENDS)} unless given")
    parser.add_argument("--quick", action="store_true", help="leave out the slow tests")
    options, arguments = parser.parse_known_args()
    # Names of tests may have characters that a console's encoding lacks.
    sys.stdout.reconfigure(errors="replace")
    start = time.perf_counter()
    everywhere = (QUICK_BACKEND,) if options.quick else BACKENDS
    backends = options.backends.split(",") if options.backends else everywhere
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            (backend, [*left_out(options.quick, backends[place:]), *arguments], Path(folder))
            for place, backend in enumerate(backends)
        ]
        results = [run(*each) for each in runs] if arguments else run_in_parts(runs)
    print(slowest(results))
    print(failures(results), end="")
    print(table(results, time.perf_counter() - start))
    sys.exit(any(result.failed for result in results))


def left_out(slow, backends):
    """pytest's arguments to leave out marked tests on the first of the backends that are still to run.

    It shows those of `any_backend` if it is the last, and those that need gradients if it is the last that has them.
    """
    here, *later = (backend in WITH_GRADIENTS for backend in backends)
    marks = ["slow"] if slow else []
    if later:
        marks.append("(any_backend and not trainable)")
    if not here or any(later):
        marks.append("(any_backend and trainable)")
    return ["-m", " and ".join(f"not {mark}" for mark in marks)] if marks else []


def run_in_parts(runs):
    """Run every backend's tests in parts, as many at a time as there are cores; a result for each backend."""
    idle = queue.SimpleQueue()
    for core in available_cores():
        idle.put(core)

    def run_part(arguments, number, parts):
        core = idle.get()
        try:
            return run(*arguments, f"{number}/{parts}", core)
        finally:
            idle.put(core)

    with ThreadPoolExecutor(idle.qsize()) as pool:
        waiting = [
            [pool.submit(run_part, each, number + 1, PARTS[each[0]]) for number in range(PARTS[each[0]])]
            for each in runs
        ]
        return [total([part.result() for part in parts]) for parts in waiting]


def run(backend, arguments, folder, part="1/1", core=None):
    """Run pytest on one backend's tests, with a worker on every core, or on a part of them on one, and count."""
    report = folder / f"{backend}-{part.replace('/', '-')}.xml"
    # Tests that stand together, and share compiled models, start on one worker; an idle one takes of another's.
    workers = ["-n", str(len(available_cores())), "--dist", "worksteal"] if core is None else []
    command = [sys.executable, "-m", "pytest", "-q", *workers, f"--junitxml={report}", *arguments]
    settings = {"KERAS_BACKEND": backend, "KERAS_HOME": str(folder), "MPLBACKEND": "Agg", "TF_CPP_MIN_LOG_LEVEL": "2"}
    settings["TESTS_PART"] = part
    if core is not None:
        settings["TESTS_CORE"] = str(core)
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
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
    cases = [(f"{case.get('classname')}.{case.get('name')}", case) for case in suite.iter("testcase")]
    tests = tuple((float(case.get("time")), name) for name, case in cases)
    names = tuple(name for name, case in cases if {"failure", "error"} & {child.tag for child in case})
    return Result(backend, max(total - broken - skipped, 0), failed, skipped, seconds, tests, names)


def total(results):
    """The parts of one backend as one."""
    sums = (sum(getattr(result, field) for result in results) for field in ("passed", "failed", "skipped", "seconds"))
    tests = tuple(test for result in results for test in result.tests)
    broken = tuple(name for result in results for name in result.broken)
    return Result(results[0].backend, *sums, tests, broken)


def available_cores():
    """The cores that this process may use, by number where the system tells."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())


def slowest(results):
    """The tests that took longest, on whichever backend."""
    rows = sorted(((*test, result.backend) for result in results for test in result.tests), reverse=True)[:SLOWEST]
    return "\n".join(["", "The slowest tests, in seconds"] + [f"{s:>8.1f}  {b:<12}{name}" for s, name, b in rows])


def failures(results):
    """The tests that failed, named once more where they are read; nothing if none did."""
    rows = [f"          {result.backend:<12}{name}" for result in results for name in result.broken]
    return "\n".join(["", "The failed tests", *rows, ""]) if rows else ""


def table(results, seconds):
    """One row for each backend, and closing lines with the time and the sums."""
    rows = [f"{'backend':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}"]
    rows += [f"{r.backend:<12}{r.passed:>8}{r.failed:>8}{r.skipped:>9}{r.seconds:>9.0f}" for r in results]
    passed, failed, skipped = (sum(getattr(r, field) for r in results) for field in ("passed", "failed", "skipped"))
    rows += ["", f"{seconds:.0f} seconds in all, on {len(available_cores())} cores"]
    return "\n".join(["", *rows, f"{passed} passed, {failed} failed, {skipped} skipped"])


if __name__ == "__main__":
    main()
