"""Profile the test suite: on each backend the time for compiling, tracing and other processes; and the slowest tests.

    .venv/bin/python benchmarks/suite.py [--read FOLDER] [arguments of tests/run_backends.py]

It runs `make test` with this file as a pytest plugin. The tables go to standard output, and the measurements to
runs/suite, from which `--read` prints the tables again.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("jax", "tensorflow", "torch", "numpy")
SLOWEST = 60
#: The variable that names the folder for the plugin's measurements.
REPORT = "SUITE_REPORT"
#: JAX's compiler events, with the table's column of each.
JAX_EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "tracing",
    "/jax/core/compile/backend_compile_duration": "compiling",
}

#: Seconds so far in this process, by activity, and the number of programs compiled or traced.
spent = Counter()
tests = {}
started = time.time()


def pytest_sessionstart(session):
    """Monitor the backend's compiler, in the processes that run tests."""
    backend = os.environ["KERAS_BACKEND"]
    if backend == "jax":
        import jax

        jax.monitoring.register_event_duration_secs_listener(_jax_event)
    elif backend == "tensorflow":
        from tensorflow.python.eager.polymorphic_function import tracing_compilation

        tracing_compilation._create_concrete_function = _timed(tracing_compilation._create_concrete_function)


def _jax_event(event, seconds, **_):
    if event in JAX_EVENTS:
        spent[JAX_EVENTS[event]] += seconds
        spent["programs"] += JAX_EVENTS[event] == "compiling"


def _timed(function):
    """Time TensorFlow's tracing function; nested traces count once."""
    depth = Counter()

    def timed(*arguments, **options):
        depth["now"] += 1
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            depth["now"] -= 1
            if not depth["now"]:
                spent["tracing"] += time.perf_counter() - start
                spent["programs"] += 1

    return timed


def _so_far():
    used = {name: resource.getrusage(getattr(resource, f"RUSAGE_{name}")) for name in ("SELF", "CHILDREN")}
    seconds = {name: usage.ru_utime + usage.ru_stime for name, usage in used.items()}
    return Counter({**spent, "own CPU": seconds["SELF"], "other processes' CPU": seconds["CHILDREN"]})


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """Record the counters at the start of a test."""
    item.began = _so_far()
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Report a test's resource usage to the collecting process."""
    if call.when == "teardown":
        now = _so_far()
        took = {name: now[name] - item.began[name] for name in now}
        took["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        item.user_properties.append(("took", took))
    yield


def pytest_runtest_logreport(report):
    """Collect a test's report."""
    test = tests.setdefault(report.nodeid, {"seconds": 0.0})
    test["seconds"] += report.duration
    test.update(dict(report.user_properties).get("took", {}))


def pytest_sessionfinish(session):
    """Write the collected reports to a file, one for each part of a backend's tests."""
    if hasattr(session.config, "workerinput"):
        return
    part = os.environ["TESTS_PART"].replace("/", "-")
    path = Path(os.environ[REPORT]) / f"{os.environ['KERAS_BACKEND']}-{part}.json"
    path.write_text(json.dumps({"started": started, "ended": time.time(), "tests": tests}))


def read(folder):
    """The reports by backend, with all parts of each combined."""
    reports = {}
    for backend in BACKENDS:
        parts = [json.loads(file.read_text()) for file in folder.glob(f"{backend}-*.json")]
        if parts:
            seconds = max(part["ended"] for part in parts) - min(part["started"] for part in parts)
            of_tests = {name: test for part in parts for name, test in part["tests"].items()}
            reports[backend] = {"seconds": seconds, "tests": of_tests}
    return reports


def measure(folder, arguments):
    """Run the tests."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.json"):
        file.unlink()
    settings = {REPORT: str(folder.resolve()), "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "-p benchmarks.suite"}
    command = [sys.executable, "tests/run_backends.py", *arguments]
    subprocess.run(command, env={**os.environ, **settings}, cwd=ROOT)


def tables(reports):
    """The two tables, from reports by backend."""
    columns = ("own CPU", "compiling", "tracing", "other processes' CPU", "programs", "peak MB")
    lines = [f"| backend | tests | wall | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 3)}"]
    for backend, report in reports.items():
        of_tests = report["tests"].values()
        sums = [sum(test.get(name, 0) for test in of_tests) for name in columns[:-1]]
        peak = max(test.get("peak MB", 0) for test in of_tests)
        numbers = [f"{number:,.0f}" for number in (report["seconds"], *sums, peak)]
        lines.append(f"| {backend} | {len(of_tests):,} | {' | '.join(numbers)} |")
    rows = [
        (test["seconds"], backend, name)
        for backend, report in reports.items()
        for name, test in report["tests"].items()
    ]
    lines += ["", "| seconds | backend | test |", "|---|---|---|"]
    lines += [
        f"| {seconds:.1f} | {backend} | `{name}` |" for seconds, backend, name in sorted(rows)[: -SLOWEST - 1 : -1]
    ]
    return "\n".join(lines)


def main():
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--read", type=Path, help="print the tables of a folder of measurements, without running tests")
    options, arguments = parser.parse_known_args()
    folder = options.read or ROOT / "runs" / "suite"
    if options.read is None:
        measure(folder, arguments)
    print(tables(read(folder)))


if __name__ == "__main__":
    main()
