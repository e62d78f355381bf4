"""Run every notebook's source with small settings, and write nothing: what it asserts without long training holds.

    python notebooks/run_small.py
    python notebooks/run_small.py 07_long_context

Two run on each backend, the others on the one that they name. As many run at a time as there are cores,
each on its own. The exit status is 1 when one failed; its messages stand above the table.
"""

import argparse
import os
import queue
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
BACKENDS = ("jax", "torch", "tensorflow")
#: What a first lesson shows is to hold on every backend.
ON_EVERY_BACKEND = ("quickstart", "from_lstm")
#: Pictures are drawn and not shown, and programs that run for seconds are compiled in little time.
SETTINGS = {
    "NOTEBOOK_SMALL": "1",
    "MPLBACKEND": "agg",
    "PYTHONWARNINGS": "ignore:FigureCanvasAgg",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
}


def main():
    """Run the sources named, or all; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sources = {source.stem: source for source in sorted(FOLDER.glob("[0-9]*.py"))}
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(sources)}")
    names = parser.parse_args().names or list(sources)
    if unknown := set(names) - set(sources):
        parser.error(f"the notebooks are {', '.join(sources)}. Got {', '.join(sorted(unknown))}.")
    started = time.perf_counter()
    jobs = [(sources[name], backend) for name in names for backend in backends_of(sources[name])]
    idle = queue.SimpleQueue()
    for core in available_cores():
        idle.put(core)
    with ThreadPoolExecutor(idle.qsize()) as pool:
        results = list(pool.map(lambda job: run(*job, idle), jobs))
    for (source, backend), _, messages in results:
        if messages is not None:
            print(f"{source.name} on {backend} failed:\n{messages}")
    print(f"\n{'notebook':<28}{'backend':<12}{'seconds':>8}")
    for (source, backend), seconds, messages in results:
        print(
            f"{source.stem:<28}{backend:<12}{seconds:>8.0f}{'' if messages is None else '  failed'}"
        )
    failed = sum(messages is not None for *_, messages in results)
    print(
        f"\n{time.perf_counter() - started:.0f} seconds in all; {len(results) - failed} passed, {failed} failed"
    )
    return int(bool(failed))


def backends_of(source):
    """The backends on which a notebook is run."""
    return BACKENDS if source.stem[3:] in ON_EVERY_BACKEND else (named_backend(source.read_text()),)


def named_backend(text):
    """The backend that a notebook chooses where nobody has."""
    return re.search(r'os\.environ\.setdefault\("KERAS_BACKEND", "(\w+)"\)', text)[1]


def run(source, backend, idle):
    """Run a source on a core that is idle: what ran, its seconds, and its messages if it failed."""
    core = idle.get()
    try:
        started = time.perf_counter()
        path = os.pathsep.join([str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.run(
            [sys.executable, "-c", ON_ONE_CORE, str(core), str(source)],
            env={**os.environ, **SETTINGS, "KERAS_BACKEND": backend, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return (
            (source, backend),
            time.perf_counter() - started,
            process.stdout if process.returncode else None,
        )
    finally:
        idle.put(core)


def available_cores():
    """The cores that this process may use, by number where the system tells."""
    return (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else range(os.cpu_count())
    )


#: A program that runs a source as `python SOURCE` would, on one core where the system can be told.
ON_ONE_CORE = """
import os, runpy, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(sys.argv[1])})
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


if __name__ == "__main__":
    sys.exit(main())
