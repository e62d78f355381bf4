"""Run the benchmarks on every backend, each in a separate process, with one result file for each benchmark.

    python benchmarks/run.py [--only kernels,model] [--backends jax,torch] [--machine NAME]

The files are benchmarks/results/<benchmark>-<machine>.md; under `taskset -c 0` the machine has one core. `kernels`,
`model` and `decode` run unless --only names others. `lineage` takes days on few cores, and continues from the file of
its finished parts; `retained_memory` needs 10 GB of memory. `sequences.py` is run by itself.
"""

import argparse
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
BENCHMARKS = ("kernels", "model", "decode")
NAMED = ("lineage", "memory", "mixers", "packing", "recurrent_decode", "retained_memory", "scaling", "training_memory")
NAMED += ("export", "processes", "serving")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
PACKAGES = (
    "keras",
    "numpy",
    "jax",
    "torch",
    "tensorflow",
    "transformers",
    "recurrentgemma",
    "onnxruntime",
    "accelerated-scan",
    "flash-linear-attention",
    "yet-another-retnet",
)


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="separated by commas (default: %(default)s)")
    parser.add_argument("--backends", default="jax,torch,tensorflow", help="separated by commas")
    parser.add_argument("--machine", default=f"cpu-{CORES}-core{'s' * (CORES != 1)}", help="in the names of the files")
    options = parser.parse_args()
    names = options.only.split(",")
    unknown = set(names) - {*BENCHMARKS, *NAMED}
    if unknown:
        parser.error(f"the benchmarks are {', '.join((*BENCHMARKS, *NAMED))}. Got {', '.join(sorted(unknown))}.")
    for name in names:
        report = [f"# {name}, {options.machine}\n\n{machine()}\n"]
        for backend in options.backends.split(","):
            parts = FOLDER / "results" / f"{name}-{backend}-{options.machine}.csv"
            report.append(run(name, backend, [parts] if name == "lineage" else []))
        write(FOLDER / "results" / f"{name}-{options.machine}.md", "\n".join(report))


def machine():
    """The processor, and the versions of all measured packages."""
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    processor = ", ".join(sorted(names)) or platform.processor() or platform.machine()
    versions = [f"Python {platform.python_version()}", *filter(None, map(installed, PACKAGES))]
    used = "" if CORES == os.cpu_count() else f"{CORES} of "
    return f"{processor}, {used}{os.cpu_count()} cores. {', '.join(versions)}."


def installed(package):
    """The package with its version, or None."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def run(name, backend, arguments):
    """The output of one benchmark on one backend."""
    settings = {"PYTHONPATH": str(FOLDER.parent), "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, FOLDER / f"{name}.py", *arguments]
    with subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True) as process:
        printed = []
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line)
    if process.returncode:
        raise SystemExit(f"run: {name}.py failed on {backend} with status {process.returncode}.")
    return "".join(printed)


def write(path, text):
    """Write a file atomically."""
    path.parent.mkdir(exist_ok=True)
    aside = path.with_suffix(".tmp")
    aside.write_text(text)
    aside.replace(path)
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
