"""Run the test suite once for each backend, each in processes of its own, and end in one table.

    python tests/run_backends.py [--backends jax,numpy] [--quick] [--exhaustive] [arguments of pytest]

The tests of a backend are divided into parts, and each core takes one part after the other. With arguments of pytest,
which choose a few tests, the backends run one after the other, each with a worker of pytest-xdist on every core. On the
numpy backend the tests marked `trainable` are left out; those marked `any_backend` run on the last backend alone, or on
the last that has gradients where they need them. With --quick one backend, PyTorch unless another is named, runs all
but those marked `slow`. Those marked `exhaustive` need --exhaustive. Keras's own settings file is not read.
"""

import argparse
import os
import queue
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

BACKENDS = ("jax", "tensorflow", "torch", "numpy")
WITH_GRADIENTS = ("jax", "tensorflow", "torch")
QUICK_BACKEND = "torch"
#: Parts of each backend's tests, each in a process that ends with it: TensorFlow, above all, keeps what it compiled.
#: JAX lets go of that, above some size after each file, and compiles again what the next one needs too.
PARTS = {"jax": 6, "tensorflow": 9, "torch": 6, "numpy": 2}
#: How many of the slowest files and tests are printed at the end.
SLOWEST = 16


@dataclass(frozen=True)
class Result:
    """How a run of a backend, or of a part, ended: seconds in all, and each test with its seconds, name and end."""

    backend: str
    seconds: float
    tests: list[tuple[float, str, str]]

    def count(self, end):
        return sum(test[2] == end for test in self.tests)


def main():
    """Run what the command line asks for; the exit status is 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", help=f"separated by commas; {','.join(BACKENDS)} unless given")
    parser.add_argument("--quick", action="store_true", help="leave out the slow tests")
    parser.add_argument("--exhaustive", action="store_true", help="run every combination that a test is written for")
    options, arguments = parser.parse_known_args()
    # Names of tests may have characters that a console's encoding lacks.
    sys.stdout.reconfigure(errors="replace")
    start = time.perf_counter()
    everywhere = (QUICK_BACKEND,) if options.quick else BACKENDS
    backends = options.backends.split(",") if options.backends else everywhere
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            (backend, [*left_out(options, backends[place:]), *arguments], Path(folder))
            for place, backend in enumerate(backends)
        ]
        results = [run(*each) for each in runs] if arguments else run_in_parts(runs)
    print(slowest(results))
    print(failures(results), end="")
    print(table(results, time.perf_counter() - start))
    sys.exit(any(result.count("failed") for result in results))


def left_out(options, backends):
    """pytest's arguments to leave out marked tests on the first of the backends that are still to run.

    It shows those of `any_backend` if it is the last, and those that need gradients if it is the last that has them.
    """
    here, *later = (backend in WITH_GRADIENTS for backend in backends)
    marks = ["slow"] * options.quick + ["exhaustive"] * (not options.exhaustive)
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
        parts = [[part.result() for part in each] for each in waiting]
    return [Result(each[0].backend, sum(p.seconds for p in each), sum((p.tests for p in each), [])) for each in parts]


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
    cases = ElementTree.parse(report).iter("testcase") if report.exists() else ()
    tests = [(float(case.get("time")), f"{case.get('classname')}.{case.get('name')}", end_of(case)) for case in cases]
    result = Result(backend, seconds, tests)
    # pytest also fails without a failed test: when it finds no test, or is killed.
    if process.returncode and not result.count("failed"):
        tests.append((0.0, f"pytest ended with status {process.returncode}", "failed"))
    return result


def end_of(case):
    """How a test of the report ended."""
    found = {child.tag for child in case}
    return "failed" if found & {"failure", "error"} else "skipped" if "skipped" in found else "passed"


def available_cores():
    """The cores that this process may use, by number where the system tells."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())


def slowest(results):
    """The files and the tests that took longest, on whichever backend."""
    tests = [(seconds, result.backend, name) for result in results for seconds, name, _ in result.tests]
    sums = Counter()
    for seconds, backend, name in tests:
        sums[backend, name.partition("[")[0].rpartition(".")[0]] += seconds
    files = [(seconds, *each) for each, seconds in sums.items()]
    lines = []
    for title, rows in (("files", files), ("tests", tests)):
        rows = sorted(rows, reverse=True)[:SLOWEST]
        lines += ["", f"The slowest {title}, in seconds", *(f"{s:>8.1f}  {b:<12}{name}" for s, b, name in rows)]
    return "\n".join(lines)


def failures(results):
    """The tests that failed, named once more where they are read; nothing if none did."""
    rows = [f"{'':<10}{each.backend:<12}{name}" for each in results for _, name, end in each.tests if end == "failed"]
    return "\n".join(["", "The failed tests", *rows, ""]) if rows else ""


def table(results, seconds):
    """One row for each backend, and closing lines with the time and the sums."""
    ends = ("passed", "failed", "skipped")
    counts = [[result.count(end) for end in ends] for result in results]
    rows = [f"{'backend':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}"]
    for result, (passed, failed, skipped) in zip(results, counts, strict=True):
        rows.append(f"{result.backend:<12}{passed:>8}{failed:>8}{skipped:>9}{result.seconds:>9.0f}")
    rows += ["", f"{seconds:.0f} seconds in all, on {len(available_cores())} cores"]
    sums = zip(map(sum, zip(*counts, strict=True)), ends, strict=True)
    return "\n".join(["", *rows, ", ".join(f"{count} {end}" for count, end in sums)])


if __name__ == "__main__":
    main()
